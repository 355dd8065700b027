package crmapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Page is one page of a list.
type Page[T any] struct {
	Items      []T     `json:"items" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"Send it as cursor for the next page; null on the last. A page may hold fewer than limit and still have a next"`
}

// PathID names the thing that an endpoint is about.
type PathID struct {
	ID uuid.UUID `path:"id" format:"uuid"`
}

// Paging is what every list takes.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Items on a page"`
	Cursor string `query:"cursor" maxLength:"2000" doc:"next_cursor of the page before"`
	Format string `query:"format" enum:"json,csv" default:"json" doc:"csv, as Accept: text/csv: the whole list, without limit and cursor; cells that a spreadsheet would run begin with an apostrophe"`
}

type pageOutput[T any] struct {
	Body Page[T]
}

// cursor is a place in a list, opaque to clients. List keeps the cursor of one list, or of one order, from being
// used in another.
type cursor struct {
	List     string          `json:"l"`
	Position json.RawMessage `json:"p"`
}

// position reads the cursor of a list; nil at the top.
func position[P any](in Paging, list string) (*P, error) {
	if in.Cursor == "" {
		return nil, nil // the top of the list is no error
	}
	var c cursor
	var p P
	raw, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err == nil && c.List == list {
		err = json.Unmarshal(c.Position, &p)
	}
	if err != nil || c.List != list {
		return nil, invalid("query.cursor", "is not a next_cursor of this list in this order")
	}
	return &p, nil
}

// page makes a page of rows, of which one more than the limit was asked for: that one tells that there is a next.
func page[R, T any](in Paging, list string, rows []R, view func(R) T, place func(R) any) (*pageOutput[T], error) {
	out := &pageOutput[T]{Body: Page[T]{Items: make([]T, 0, min(len(rows), in.Limit))}}
	for _, r := range rows[:min(len(rows), in.Limit)] {
		out.Body.Items = append(out.Body.Items, view(r))
	}
	if len(rows) <= in.Limit {
		return out, nil
	}
	var err error
	out.Body.NextCursor, err = encodeCursor(list, place(rows[in.Limit-1]))
	return out, err
}

// encodeCursor makes the cursor of a place in a list.
func encodeCursor(list string, place any) (*string, error) {
	p, err := json.Marshal(place)
	if err != nil {
		return nil, fmt.Errorf("encode a cursor: %w", err)
	}
	raw, err := json.Marshal(cursor{List: list, Position: p})
	if err != nil {
		return nil, fmt.Errorf("encode a cursor: %w", err)
	}
	return new(base64.RawURLEncoding.EncodeToString(raw)), nil
}

// byID is the position in a list that is ordered by the inner id, newest first.
type byID struct {
	ID int64 `json:"i"`
}

// above is where such a list goes on: below the position, or from the top.
func (b *byID) above() int64 {
	if b == nil {
		return 1<<63 - 1
	}
	return b.ID
}

// orNull shows "" and other zeroes as null.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func orZero[T any](v *T) T {
	if v == nil {
		var zero T
		return zero
	}
	return *v
}

// utc shows a time that may be missing.
func utc(t *time.Time) *time.Time {
	if t == nil || t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}
