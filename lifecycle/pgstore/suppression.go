package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Address is where a message goes: a channel ("sms", "email") and a number or mailbox.
type Address struct {
	Channel string
	Address string
}

// Normal is the form in which addresses are stored and compared: mailboxes in lower case.
func (a Address) Normal() Address {
	a.Address = strings.TrimSpace(a.Address)
	if a.Channel == "email" {
		a.Address = strings.ToLower(a.Address)
	}
	return a
}

// Suppression forbids an address.
type Suppression struct {
	Address
	Reason   string // stop, unsubscribe, complaint, provider, operator, import
	Source   Source
	SourceID string
}

// Suppress forbids addresses from the moment the transaction commits; those already forbidden, by an erased
// suppression too, stay as they are. It returns how many are new.
func Suppress(ctx context.Context, tx pgx.Tx, list []Suppression) (int, error) {
	list = slices.Clone(list)
	for i := range list {
		list[i].Address = list[i].Normal()
	}
	// One order of locks for everybody (see the trigger suppressions_lock).
	slices.SortFunc(list, func(a, b Suppression) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Address.Address, b.Address.Address))
	})
	added := 0
	for _, s := range list {
		tag, err := tx.Exec(ctx, `
			INSERT INTO suppressions (channel, address, reason, source, source_id)
			SELECT $1, $2, $3, $4, $5
			WHERE NOT onward_suppressed($1, $2)
			ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING`,
			s.Channel, s.Address.Address, s.Reason, string(s.Source), orNil(s.SourceID))
		if err != nil {
			return added, fmt.Errorf("suppress an address: %w", err)
		}
		added += int(tag.RowsAffected())
	}
	return added, nil
}

// Lift allows an address again; by says who asked for it. It reports whether it had been suppressed.
func Lift(ctx context.Context, tx pgx.Tx, a Address, by string) (bool, error) {
	a = a.Normal()
	tag, err := tx.Exec(ctx, `
		UPDATE suppressions
		SET lifted_at = now(), lifted_by = $3
		WHERE channel = $1 AND address IN ($2, onward_address_hash($1, $2)) AND lifted_at IS NULL`, a.Channel, a.Address, by)
	if err != nil {
		return false, fmt.Errorf("lift a suppression: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// Suppressed reports whether an address is forbidden now.
func Suppressed(ctx context.Context, tx pgx.Tx, a Address) (bool, error) {
	a = a.Normal()
	var is bool
	err := tx.QueryRow(ctx, `SELECT onward_suppressed($1, $2)`, a.Channel, a.Address).Scan(&is)
	if err != nil {
		return false, fmt.Errorf("look up a suppression: %w", err)
	}
	return is, nil
}

// LockAddress makes this transaction wait for every other that decides about the address, dispatches
// included. Businesses are locked before addresses.
func LockAddress(ctx context.Context, tx pgx.Tx, a Address) error {
	a = a.Normal()
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(onward_address_key($1, $2))`, a.Channel, a.Address); err != nil {
		return fmt.Errorf("lock an address: %w", err)
	}
	return nil
}
