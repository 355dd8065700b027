package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// ImportSuppressions is [Suppress] for many: one statement whatever their number. The result says, in the order of the
// list, which of them are new; of one that the list has twice, the first. A dry run changes nothing.
func ImportSuppressions(ctx context.Context, tx pgx.Tx, list []Suppression, dryRun bool) (added []bool, err error) {
	added = make([]bool, len(list))
	order := make([]int, 0, len(list))
	seen := map[Address]bool{}
	for i, s := range list {
		if a := s.Normal(); !seen[a] {
			seen[a] = true
			order = append(order, i)
		}
	}
	// One order of locks for everybody (see the trigger suppressions_lock).
	slices.SortFunc(order, func(a, b int) int {
		x, y := list[a].Normal(), list[b].Normal()
		return cmp.Or(cmp.Compare(x.Channel, y.Channel), cmp.Compare(x.Address, y.Address))
	})
	var channel, address, reason, source, sourceID []string
	for _, i := range order {
		a := list[i].Normal()
		channel, address = append(channel, a.Channel), append(address, a.Address)
		reason, source, sourceID = append(reason, list[i].Reason), append(source, string(list[i].Source)), append(sourceID, list[i].SourceID)
	}
	sql := `
		INSERT INTO suppressions (channel, address, reason, source, source_id)
		SELECT u.channel, u.address, u.reason, u.source, NULLIF(u.source_id, '')
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS u (channel, address, reason, source, source_id, n)
		WHERE NOT onward_suppressed(u.channel, u.address)
		ORDER BY u.n
		ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
		RETURNING channel, address`
	args := []any{channel, address, reason, source, sourceID}
	if dryRun {
		sql = `
			SELECT u.channel, u.address
			FROM unnest($1::text[], $2::text[]) AS u (channel, address)
			WHERE NOT onward_suppressed(u.channel, u.address)`
		args = args[:2]
	}
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("suppress addresses: %w", err)
	}
	fresh := map[Address]bool{}
	var a Address
	if _, err := pgx.ForEachRow(rows, []any{&a.Channel, &a.Address}, func() error { fresh[a] = true; return nil }); err != nil {
		return nil, fmt.Errorf("suppress addresses: %w", err)
	}
	for _, i := range order {
		added[i] = fresh[list[i].Normal()]
	}
	return added, nil
}

// StoredSuppression is a suppression that stands, or once stood.
type StoredSuppression struct {
	Channel  string     `json:"channel"`
	Address  string     `json:"address"` // hmac:… once its contact was erased
	Reason   string     `json:"reason"`
	Source   string     `json:"source"`
	Since    time.Time  `json:"since"`
	LiftedAt *time.Time `json:"lifted_at"`
	LiftedBy *string    `json:"lifted_by"`
}

// SuppressionFilter selects suppressions; "" and 0 select all.
type SuppressionFilter struct {
	Channel string
	Address string // with its channel
	State   string // active, lifted; "": both
	Limit   int
	// Readable leaves out those of erased contacts, whose address nobody can read.
	Readable bool
}

// EachSuppression calls fn with each suppression, newest first, as they are read: memory does not grow with their number.
func EachSuppression(ctx context.Context, q Querier, f SuppressionFilter, fn func(StoredSuppression) error) error {
	rows, err := q.Query(ctx, `
		SELECT channel, address, reason, source, since, lifted_at, lifted_by
		FROM suppressions
		WHERE ($1 = '' OR channel = $1)
			AND ($2 = '' OR address IN ($2, onward_address_hash($1, $2)))
			AND ($3 = '' OR (lifted_at IS NULL) = ($3 = 'active'))
			AND NOT ($4 AND address LIKE 'hmac:%')
		ORDER BY id DESC
		LIMIT NULLIF($5::bigint, 0)`, f.Channel, f.Address, f.State, f.Readable, int64(f.Limit))
	if err != nil {
		return fmt.Errorf("read suppressions: %w", err)
	}
	var s StoredSuppression
	_, err = pgx.ForEachRow(rows, []any{&s.Channel, &s.Address, &s.Reason, &s.Source, &s.Since, &s.LiftedAt, &s.LiftedBy}, func() error {
		s.Since = s.Since.UTC()
		return fn(s)
	})
	if err != nil {
		return fmt.Errorf("read suppressions: %w", err)
	}
	return nil
}

// NormalizeAddress brings an address of a channel to the form in which it is stored. The country says how a national
// phone number is to be read.
func NormalizeAddress(channel, raw, country string) (Address, error) {
	switch channel {
	case "sms":
		phone, err := NormalizePhone(raw, country)
		return Address{Channel: channel, Address: phone}, err
	case "email":
		mailbox, err := NormalizeEmail(raw)
		return Address{Channel: channel, Address: mailbox}, err
	}
	return Address{}, fmt.Errorf("there is no channel %q: sms or email", channel)
}
