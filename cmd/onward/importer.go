package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nyaruka/phonenumbers"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"onward/jobs"
	"onward/lifecycle/pgstore"
	"onward/web/csvtable"
)

// businessColumns are what a file of businesses may have; nameColumn it must.
func businessColumns() []string {
	return []string{nameColumn, "phone", "email", "city", "country", "timezone", "category", "external_id"}
}

const nameColumn = "name"

func runImport(ctx context.Context, t *terminal, args []string) error {
	if len(args) == 0 {
		return usagef("say businesses")
	}
	what, rest := args[0], args[1:]
	if strings.HasPrefix(what, "-") {
		rest = args
	} else if what != "businesses" {
		return usagef("nothing imports %q: say businesses (suppressions: `onward suppressions import`)", what)
	}
	return runImportBusinesses(ctx, t, rest)
}

func runImportBusinesses(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("import", "businesses [flags] FILE.csv|-",
		"Creates and updates businesses from CSV in UTF-8 (- is stdin). The first line names the columns, in any order and case: "+
			strings.Join(businessColumns(), ", ")+";\nothers are ignored. A row is of the business with its external_id, else of the one with its phone, else with its email;\n"+
			"an empty cell leaves what is stored. A second import of the same file changes nothing. Statuses are never touched.\n"+
			"Rows that can't be taken go to a file of their own, with line and reason. Rows are committed 500 at a time: an import that\n"+
			"was cut off is simply run again.",
		"onward import businesses leads.csv --country GT", "onward import businesses leads.csv --dry-run --json",
		"zcat leads.csv.gz | onward import businesses - --refused refused.csv")
	country := fs.String("country", "", "country (ISO 3166-1 alpha-2) of rows without one: their phone is read by it, and a new business gets it")
	dry := fs.Bool("dry-run", false, "say what would come of each row; change nothing. A business that two rows far apart create counts twice")
	refused := fs.String("refused", "", "where refused rows are written (default FILE.refused.csv; made only when there are any)")
	asJSON := fs.Bool("json", false, "print the summary as JSON")
	files, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	*country = strings.ToUpper(strings.TrimSpace(*country))
	switch {
	case len(files) != 1:
		return usagef("name one file, or - for stdin")
	case *country != "" && !phonenumbers.GetSupportedRegions()[*country]:
		return usagef("--country %s is not the ISO 3166-1 alpha-2 code of a country, such as GT or US", *country)
	}
	src, err := t.openSource(files[0], *refused)
	if err != nil {
		return err
	}
	defer func() { _ = src.close() }()
	tab, err := csvtable.New(src.r, businessColumns(), []string{nameColumn})
	if err != nil {
		return src.wrong(err)
	}
	t.sayUnknown(tab)
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	im := &businessImport{pool: pool, o: pgstore.ImportOptions{Country: *country, DryRun: *dry}}
	if im.river, err = river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	run := &importRun{t: t, src: src, table: tab, verdicts: verdictNames(), take: im.take}
	err = errors.Join(run.run(ctx), src.close())
	if !*dry && run.changed() {
		err = errors.Join(err, recordImport(ctx, pool, "businesses.import", src.name, "", run.counts))
	}
	return errors.Join(err, run.say(*dry, *asJSON), run.failed())
}

func verdictNames() []string {
	var list []string
	for _, v := range pgstore.ImportVerdicts() {
		list = append(list, string(v))
	}
	return list
}

// sayUnknown says once which columns count for nothing.
func (t *terminal) sayUnknown(tab *csvtable.Table) {
	if len(tab.Unknown) > 0 {
		fmt.Fprintf(t.stderr, "ignored: %s %s\n", map[bool]string{true: "the column", false: "the columns"}[len(tab.Unknown) == 1],
			visible(strings.Join(tab.Unknown, ", ")))
	}
}

// recordImport writes down who imported what. It is done also when the import was interrupted.
func recordImport(ctx context.Context, pool *pgxpool.Pool, action, file, reason string, counts map[string]int64) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), 10*time.Second, errors.New("time-out of recording the import"))
	defer cancel()
	details := map[string]any{}
	for what, n := range counts {
		details[what] = n
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := recordActions(ctx, tx, action, "file", []string{file}, reason, details)
		return err
	})
}

// businessImport takes rows of businesses into the database.
type businessImport struct {
	pool  *pgxpool.Pool
	river *river.Client[pgx.Tx]
	o     pgstore.ImportOptions
}

// take takes some rows in one transaction. It returns a verdict, and a reason where it is refused, for each.
func (im *businessImport) take(ctx context.Context, rows []csvtable.Row) ([]rowVerdict, error) {
	list := make([]pgstore.NewBusiness, len(rows))
	for i, r := range rows {
		list[i] = pgstore.NewBusiness{
			ExternalID: r.Get("external_id"), Name: r.Get(nameColumn), Phone: r.Get("phone"), Email: r.Get("email"), City: r.Get("city"),
			Country: r.Get("country"), Timezone: r.Get("timezone"), Category: r.Get("category"),
		}
	}
	var done []pgstore.Imported
	err := againstOthers(ctx, func() error {
		return pgx.BeginFunc(ctx, im.pool, func(tx pgx.Tx) error {
			var keys []string
			var err error
			if done, keys, err = pgstore.ImportBusinesses(ctx, tx, list, im.o); err != nil {
				return err
			}
			return im.requeue(ctx, tx, keys)
		})
	})
	if err != nil {
		return nil, err
	}
	out := make([]rowVerdict, len(done))
	for i, d := range done {
		out[i] = rowVerdict{string(d.Verdict), d.Reason}
	}
	return out, nil
}

// requeue gives another run to the receipts that waited for an address which is known now.
func (im *businessImport) requeue(ctx context.Context, tx pgx.Tx, keys []string) error {
	receipts, err := pgstore.RequeueMatching(ctx, tx, keys)
	if err != nil {
		return err
	}
	var params []river.InsertManyParams
	for _, r := range receipts {
		if args := jobs.ForReceipt(r.Provider, r.Kind, r.ID.String()); args != nil {
			params = append(params, river.InsertManyParams{Args: args})
		}
	}
	if len(params) == 0 {
		return nil
	}
	if _, err := im.river.InsertManyTx(ctx, tx, params); err != nil {
		return fmt.Errorf("enqueue receipts that waited for an address: %w", err)
	}
	return nil
}

// againstOthers runs a transaction again that PostgreSQL ended because another was at the same rows.
func againstOthers(ctx context.Context, run func() error) error {
	const tries = 5
	for try := 1; ; try++ {
		err := run()
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || try == tries || ctx.Err() != nil {
			return err
		}
		switch pgErr.Code {
		case "40001", "40P01", "23505": // serialization, deadlock, another import made the same business
		default:
			return err
		}
	}
}

// rowVerdict is what came of a row.
type rowVerdict struct{ verdict, reason string }

// verdictRefused is what every kind of import calls a row that it did not take.
const verdictRefused = string(pgstore.ImportRefused)

// rowBatch is how many rows one transaction takes: some 20 ms of locks.
const rowBatch = 500

// importRun reads a table to its end, a batch at a time.
type importRun struct {
	t        *terminal
	src      *source
	table    *csvtable.Table
	verdicts []string // in the order of the summary
	take     func(context.Context, []csvtable.Row) ([]rowVerdict, error)

	counts map[string]int64
	line   int // the last that was taken
}

func (r *importRun) changed() bool {
	for v, n := range r.counts {
		if n > 0 && v != verdictRefused && v != string(pgstore.ImportUnchanged) {
			return true
		}
	}
	return false
}

func (r *importRun) run(ctx context.Context) error {
	r.counts = map[string]int64{}
	for _, v := range r.verdicts {
		r.counts[v] = 0
	}
	p := r.t.newProgress("KiB")
	defer p.end()
	for {
		batch, end := r.batch()
		if end != nil && !errors.Is(end, io.EOF) {
			return errors.Join(r.finish(ctx, batch), r.src.wrong(end))
		}
		if err := r.finish(ctx, batch); err != nil {
			return err
		}
		p.set(r.table.Bytes()>>10, r.src.size>>10)
		if end != nil {
			return nil
		}
	}
}

// batch reads the next rows, and what ended them before there were enough.
func (r *importRun) batch() (rows []csvtable.Row, end error) {
	for len(rows) < rowBatch {
		row, err := r.table.Next()
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// finish takes a batch: rows that can't be read are refused, the others go to the database.
func (r *importRun) finish(ctx context.Context, batch []csvtable.Row) error {
	if len(batch) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return r.stopped(err)
	}
	var readable []csvtable.Row
	for _, row := range batch {
		if row.Refused == "" {
			readable = append(readable, row)
		}
	}
	verdicts, err := r.take(ctx, readable)
	if err != nil {
		return r.stopped(err)
	}
	for _, row := range batch {
		v := rowVerdict{verdictRefused, row.Refused}
		if row.Refused == "" {
			v, verdicts = verdicts[0], verdicts[1:]
		}
		r.counts[v.verdict]++
		if v.verdict == verdictRefused {
			if err := r.src.refuse(r.table.Head, row, v.reason); err != nil {
				return err
			}
		}
	}
	r.line = batch[len(batch)-1].Line
	return nil
}

// stopped says how far the import came; what it did stays.
func (r *importRun) stopped(err error) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	if r.line == 0 {
		return fmt.Errorf("%w: nothing was imported", err)
	}
	return fmt.Errorf("%w: done up to line %d; run it again, what is done changes nothing", err, r.line)
}

// say prints the summary.
func (r *importRun) say(dry, asJSON bool) error {
	if asJSON {
		summary := map[string]any{"file": r.src.name, "dry_run": dry, "ignored_columns": append([]string{}, r.table.Unknown...), "refused_file": nil}
		for v, n := range r.counts {
			summary[v] = n
		}
		if r.src.refusedPath != "" && r.counts[verdictRefused] > 0 {
			summary["refused_file"] = r.src.refusedPath
		}
		return json.NewEncoder(r.t.stdout).Encode(summary)
	}
	parts := make([]string, len(r.verdicts))
	for i, v := range r.verdicts {
		parts[i] = grouped(r.counts[v]) + " " + v
	}
	line := strings.Join(parts, ", ")
	if dry {
		line = "would be: " + line
	}
	if r.counts[verdictRefused] > 0 {
		line += " (see " + filepath.ToSlash(r.src.refusedPath) + ")"
	}
	_, err := fmt.Fprintln(r.t.stdout, line)
	return err
}

// failed is an error where there were rows, and none of them could be taken.
func (r *importRun) failed() error {
	var taken int64
	for v, n := range r.counts {
		if v != verdictRefused {
			taken += n
		}
	}
	if taken == 0 && r.counts[verdictRefused] > 0 {
		return errors.New("no row could be taken")
	}
	return nil
}
