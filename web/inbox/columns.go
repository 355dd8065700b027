package inbox

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// field is a field of an entry that becomes a column.
type field struct {
	element uint32 // the column's type
	like    any    // an array of that type, as pgx knows it
	size    func(e *entry) int
	append  func(to []byte, e *entry) []byte // in PostgreSQL's binary format
}

// receiptFields become the columns of storeReceipts, in its order.
func receiptFields() []field {
	texts, bytes := pgtype.FlatArray[string]{}, pgtype.FlatArray[[]byte]{}
	return []field{
		fieldOf(pgtype.UUIDOID, pgtype.FlatArray[pgtype.UUID]{}, func(e *entry) []byte { return e.id[:] }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) string { return e.provider }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) string { return e.kind }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) string { return e.query }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) []byte { return e.headers }),
		fieldOf(pgtype.ByteaOID, bytes, func(e *entry) []byte { return e.body }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) string { return e.dedupeKey }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) string { return e.contactKey }),
		timeOf(func(e *entry) time.Time { return e.receivedAt }),
	}
}

// jobFields become the columns of enqueueJobs, in its order.
func jobFields() []field {
	texts := pgtype.FlatArray[string]{}
	return []field{
		fieldOf(pgtype.UUIDOID, pgtype.FlatArray[pgtype.UUID]{}, func(e *entry) []byte { return e.id[:] }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) []byte { return e.row.args }),
		timeOf(func(e *entry) time.Time { return e.row.createdAt }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) string { return e.row.kind }),
		numberOf(func(e *entry) int16 { return e.row.maxAttempts }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) []byte { return e.row.metadata }),
		numberOf(func(e *entry) int16 { return e.row.priority }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) string { return e.row.queue }),
		timeOf(func(e *entry) time.Time { return e.row.scheduledAt }),
		fieldOf(pgtype.TextOID, texts, func(e *entry) string { return e.row.state }),
	}
}

// fieldOf is a field that goes over the wire as it is in memory.
func fieldOf[T string | []byte](element uint32, like any, get func(e *entry) T) field {
	return field{
		element, like, func(e *entry) int { return len(get(e)) },
		func(to []byte, e *entry) []byte { return append(to, get(e)...) },
	}
}

// timeOf is a field that becomes a timestamptz.
func timeOf(get func(e *entry) time.Time) field {
	return field{
		pgtype.TimestamptzOID,
		pgtype.FlatArray[time.Time]{},
		func(*entry) int { return 8 },
		func(to []byte, e *entry) []byte {
			const epoch = 946_684_800_000_000 // 2000-01-01, in Unix microseconds
			return binary.BigEndian.AppendUint64(to, uint64(get(e).UnixMicro()-epoch))
		},
	}
}

// numberOf is a field that becomes a smallint.
func numberOf(get func(e *entry) int16) field {
	return field{
		pgtype.Int2OID,
		pgtype.FlatArray[int16]{},
		func(*entry) int { return 2 },
		func(to []byte, e *entry) []byte { return binary.BigEndian.AppendUint16(to, uint16(get(e))) },
	}
}

// column is an array parameter: one field of all entries of a batch. It encodes itself. pgx's own arrays would do, but the
// buffer that they are collected in begins anew with each statement, and growing it was a fifth of what a web process
// allocated.
type column struct {
	field
	entries []*entry
	reserve int // what this column and those behind it take, in bytes
}

// columns are the parameters of a statement: fields of entries.
func columns(fields []field, entries []*entry) []any {
	const array, element = 20, 4 // bytes that head an array and each element
	list := make([]any, len(fields))
	reserve := 0
	for n := len(fields) - 1; n >= 0; n-- {
		reserve += array + element*len(entries)
		for _, e := range entries {
			reserve += fields[n].size(e)
		}
		list[n] = &column{fields[n], entries, reserve}
	}
	return list
}

// append appends the column in the binary format of arrays.
func (c *column) append(to []byte) []byte {
	to = slices.Grow(to, c.reserve)
	const dimensions, nulls, first = 1, 0, 1
	for _, n := range [...]uint32{dimensions, nulls, c.element, uint32(len(c.entries)), first} {
		to = binary.BigEndian.AppendUint32(to, n)
	}
	for _, e := range c.entries {
		to = binary.BigEndian.AppendUint32(to, uint32(c.size(e)))
		to = c.field.append(to, e)
	}
	return to
}

// knowColumns has a connection encode columns.
func knowColumns(conn *pgx.Conn) {
	const known = "onward/web/inbox.column"
	if _, ok := conn.PgConn().CustomData()[known]; ok {
		return
	}
	conn.PgConn().CustomData()[known] = true
	m := conn.TypeMap()
	m.TryWrapEncodePlanFuncs = slices.Insert(m.TryWrapEncodePlanFuncs, 0,
		func(value any) (pgtype.WrappedEncodePlanNextSetter, any, bool) {
			c, ok := value.(*column)
			if !ok {
				return nil, nil, false
			}
			return columnPlan{}, c.like, true
		})
}

// columnPlan is how pgx encodes a column.
type columnPlan struct{}

// SetNext is told how pgx would encode an array that is no column.
func (columnPlan) SetNext(pgtype.EncodePlan) {}

// Encode appends a column.
func (columnPlan) Encode(value any, buf []byte) ([]byte, error) {
	c, _ := value.(*column)
	return c.append(buf), nil
}
