package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"onward/lifecycle"
)

// subscriptionRow is what a provider's export says of one subscription.
type subscriptionRow struct {
	id, status string
	at         time.Time
	to         lifecycle.Status
	event      lifecycle.Event
	wrong      string // why it can't be taken; "" when it can
}

// exported is a row as it stands in the file.
type exported struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	UpdatedAt string `json:"updated_at"`
}

// parseSubscriptions reads an export, whichever of its forms it has. An error is of the file; what is wrong with a row
// stands in the row.
func parseSubscriptions(raw []byte, asOf time.Time) ([]subscriptionRow, error) {
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	var list []exported
	var err error
	switch {
	case len(raw) == 0:
		return nil, errors.New("the file is empty")
	case raw[0] == '[':
		err = json.Unmarshal(raw, &list)
	case raw[0] == '{':
		list, err = exportedObjects(raw)
	default:
		list, err = exportedCSV(raw)
	}
	if err != nil {
		return nil, err
	}
	rows := make([]subscriptionRow, len(list))
	for i, e := range list {
		rows[i] = e.row(asOf)
	}
	return rows, nil
}

// exportedObjects reads an object a line, or one object with the list in it.
func exportedObjects(raw []byte) ([]exported, error) {
	var list []exported
	d := json.NewDecoder(bytes.NewReader(raw))
	for n := 1; ; n++ {
		var o struct {
			exported
			Data          []exported `json:"data"`
			Subscriptions []exported `json:"subscriptions"`
		}
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", n, err)
		}
		if o.Data != nil || o.Subscriptions != nil {
			list = append(append(list, o.Data...), o.Subscriptions...)
			continue
		}
		list = append(list, o.exported)
	}
}

// exportedCSV reads a table whose first line names its columns, in any order and case.
func exportedCSV(raw []byte) ([]exported, error) {
	r := csv.NewReader(bytes.NewReader(raw))
	r.FieldsPerRecord = -1
	if head, _, _ := bytes.Cut(raw, []byte("\n")); bytes.Count(head, []byte(";")) > bytes.Count(head, []byte(",")) {
		r.Comma = ';' // as spreadsheets write it where a comma is a decimal point
	}
	records, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("not CSV: %w", err)
	}
	column := map[string]int{}
	for i, name := range records[0] {
		column[strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")] = i
	}
	for _, name := range []string{"id", "status"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("neither JSON nor CSV with a column %q in its first line", name)
		}
	}
	list := make([]exported, 0, len(records)-1)
	for _, rec := range records[1:] {
		cell := func(name string) string {
			if i, ok := column[name]; ok && i < len(rec) {
				return strings.TrimSpace(rec[i])
			}
			return ""
		}
		list = append(list, exported{ID: cell("id"), Status: cell("status"), UpdatedAt: cell("updated_at")})
	}
	return list, nil
}

// importSkew is how far ahead of us the provider's clock may be: a time beyond it would outrank all that happens until
// then.
const importSkew = 5 * time.Minute

func (e exported) row(asOf time.Time) subscriptionRow {
	r := subscriptionRow{id: strings.TrimSpace(e.ID), status: strings.ToLower(strings.TrimSpace(e.Status)), at: asOf}
	switch r.status {
	case "active":
		r.to, r.event = lifecycle.Active, lifecycle.SubscriptionActivated
	case "past_due", "past due", "unpaid":
		r.to, r.event = lifecycle.PastDue, lifecycle.SubscriptionPastDue
	case "paused":
		r.to, r.event = lifecycle.Paused, lifecycle.SubscriptionPaused
	case "cancelled", "canceled":
		r.to, r.event = lifecycle.Cancelled, lifecycle.SubscriptionCancelled
	default:
		r.wrong = "no status that we know"
	}
	// When it was made (created_at) says nothing of when it became what it is.
	if e.UpdatedAt != "" {
		at, err := exportedTime(e.UpdatedAt)
		if err != nil {
			r.wrong = "a time that can't be read"
		}
		r.at = at
	}
	switch {
	case r.id == "":
		r.wrong = "no id"
	case len(r.id) > 200:
		r.id, r.wrong = r.id[:200], "an id that is too long"
	case r.wrong == "" && r.at.After(time.Now().Add(importSkew)):
		r.wrong = "a time in the future"
	}
	return r
}

// exportedTime reads the forms in which times were seen.
func exportedTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", s)
}
