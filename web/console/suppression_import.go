package console

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"

	"onward/web/csvtable"
)

// What one upload may hold: the page waits for it. The command has no such limit.
const (
	maxImportRows = 10_000
	// importBatch is how many rows the API takes at once.
	importBatch = 1000
	// refusedShown is how many of the refused rows the page lists.
	refusedShown = 200
)

// suppressionImport is what came of a file, or would.
type suppressionImport struct {
	File                 string
	Dry                  bool
	Rows, Added, Already int
	RefusedRows          int
	Refused              []refusedLine // the first of them
	Unknown              []string      // columns that were left out
	Problem              string        // why it ended before the file did
}

// refusedLine is a row that was not taken.
type refusedLine struct {
	Line           int
	Address, Wrong string
}

// importPage is the form with what came of it.
type importPage struct {
	Result  *suppressionImport
	MaxRows int
	MaxSize string
}

func newImportPage(r *suppressionImport) importPage {
	return importPage{Result: r, MaxRows: maxImportRows, MaxSize: fmt.Sprintf("%d MiB", maxUpload>>20)}
}

func (c *Console) importForm(v *visit) error {
	return v.render("suppressions_import", "Import suppressions", newImportPage(nil))
}

// importSuppressions reads a file: to say what would come of each row, or to suppress.
func (c *Console) importSuppressions(v *visit) error {
	file, head, err := v.r.FormFile("file")
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("The file is larger than %d MiB: onward suppressions import takes it.", maxUpload>>20))
	}
	if err != nil {
		return field("file", "Choose a file.")
	}
	defer func() { _ = file.Close() }()
	dry := v.form("do") != "import"
	if !dry && v.form("reason") == "" {
		return field("reason", "Say why: the reason goes to the operators' log.")
	}
	result := &suppressionImport{File: filepath.Base(head.Filename), Dry: dry}
	if err := result.read(v, file); err != nil {
		return err
	}
	if isPartial(v.r) {
		return v.fragment("suppressions_import", "result", newImportPage(result))
	}
	return v.render("suppressions_import", "Import suppressions", newImportPage(result))
}

// importRow is a row as the API takes it.
type importRow struct {
	Channel string `json:"channel,omitempty"`
	Address string `json:"address"`
	Reason  string `json:"reason,omitempty"`
	line    int
}

func (s *suppressionImport) read(v *visit, file multipart.File) error {
	tab, err := csvtable.New(file, []string{"channel", "address", "reason"}, []string{"address"})
	if err != nil {
		return field("file", sentence(err.Error()))
	}
	s.Unknown = tab.Unknown
	var batch []importRow
	for {
		row, err := tab.Next()
		if errors.Is(err, io.EOF) {
			return s.flush(v, batch)
		}
		if err != nil {
			// What stood before it is as good as the rest of the file would have been.
			s.Problem = sentence(err.Error())
			return s.flush(v, batch)
		}
		if s.Rows++; s.Rows > maxImportRows {
			s.Rows, s.Problem = maxImportRows, fmt.Sprintf("The file goes on after %s rows, which were read: onward suppressions import takes all of it.", count(maxImportRows))
			return s.flush(v, batch)
		}
		if row.Refused != "" {
			s.refuse(row.Line, strings.Join(row.Cells, ","), row.Refused)
			continue
		}
		r := importRow{Channel: strings.ToLower(row.Get("channel")), Address: row.Get("address"), Reason: row.Get("reason"), line: row.Line}
		if r.Channel != "" && r.Channel != "sms" && r.Channel != "email" {
			s.refuse(row.Line, r.Address, "channel: there are sms and email")
			continue
		}
		if len(r.Address) > 1000 {
			s.refuse(row.Line, r.Address, "address: is longer than any")
			continue
		}
		if batch = append(batch, r); len(batch) == importBatch {
			if err := s.flush(v, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
}

// flush hands rows to the API.
func (s *suppressionImport) flush(v *visit, batch []importRow) error {
	if len(batch) == 0 {
		return nil
	}
	body := map[string]any{"rows": batch, "source": s.File, "reason": v.form("reason"), "dry_run": s.Dry}
	if country := strings.ToUpper(v.form("country")); country != "" {
		body["country"] = country
	}
	var done struct {
		Added   int `json:"added"`
		Already int `json:"already"`
		Refused []struct {
			Row    int    `json:"row"`
			Reason string `json:"reason"`
		} `json:"refused"`
	}
	if err := v.api(http.MethodPost, "/suppressions/import", body, &done); err != nil {
		if s.Added+s.Already == 0 {
			return inForm(err)
		}
		r, expected := asRefusal(v.ctx(), err)
		if !expected {
			v.logUnexpected(err)
		}
		return refuse(r.status, fmt.Sprintf("%s Before that %s were done: import the file again, what is done changes nothing.", r.text, plural(s.Added+s.Already, "row", "rows")))
	}
	s.Added, s.Already = s.Added+done.Added, s.Already+done.Already
	for _, r := range done.Refused {
		if r.Row >= 0 && r.Row < len(batch) {
			s.refuse(batch[r.Row].line, batch[r.Row].Address, r.Reason)
		}
	}
	return nil
}

func (s *suppressionImport) refuse(line int, address, wrong string) {
	if s.RefusedRows++; len(s.Refused) < refusedShown {
		if cut := []rune(address); len(cut) > 80 {
			address = string(cut[:80]) + "…"
		}
		s.Refused = append(s.Refused, refusedLine{Line: line, Address: address, Wrong: wrong})
	}
}
