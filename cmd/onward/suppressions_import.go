package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/lifecycle/pgstore"
	"onward/web/csvtable"
)

// Verdicts of an imported row, beside refused.
const (
	verdictAdded   = "added"
	verdictAlready = "already"
)

// maxSuppressionReason bounds the reason of a row, in characters.
const maxSuppressionReason = 200

func (c *suppressionsCommand) importFile(ctx context.Context, path string) error {
	src, err := c.t.openSource(path, c.refused)
	if err != nil {
		return err
	}
	defer func() { _ = src.close() }()
	tab, err := csvtable.New(src.r, []string{"channel", "address", "reason"}, []string{"address"})
	if err != nil {
		return src.wrong(err)
	}
	c.t.sayUnknown(tab)
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	run := &importRun{
		t: c.t, src: src, table: tab, verdicts: []string{verdictAdded, verdictAlready, verdictRefused},
		take: func(ctx context.Context, rows []csvtable.Row) ([]rowVerdict, error) {
			return c.take(ctx, pool, src.name, rows)
		},
	}
	err = errors.Join(run.run(ctx), src.close())
	if !c.dry && run.counts[verdictAdded] > 0 {
		err = errors.Join(err, recordImport(ctx, pool, "suppressions.import", src.name, c.reason, run.counts))
	}
	return errors.Join(err, run.say(c.dry, c.json), run.failed())
}

// take suppresses the addresses of some rows.
func (c *suppressionsCommand) take(ctx context.Context, pool *pgxpool.Pool, file string, rows []csvtable.Row) ([]rowVerdict, error) {
	out := make([]rowVerdict, len(rows))
	var list []pgstore.Suppression
	var at []int // the row of each
	for i, r := range rows {
		channel := r.Get("channel")
		if channel == "" {
			channel = c.channel
		}
		reason := r.Get("reason")
		if reason == "" {
			reason = "import"
		}
		a, err := pgstore.NormalizeAddress(channelOf(channel, r.Get("address")), r.Get("address"), c.country)
		switch {
		case err != nil:
			out[i] = rowVerdict{verdictRefused, "address: " + err.Error()}
		case utf8.RuneCountInString(reason) > maxSuppressionReason || strings.ContainsRune(reason, 0):
			out[i] = rowVerdict{verdictRefused, fmt.Sprintf("reason: is longer than %d characters, or has a zero byte", maxSuppressionReason)}
		default:
			list, at = append(list, pgstore.Suppression{Address: a, Reason: reason, Source: pgstore.SourceImport, SourceID: file}), append(at, i)
		}
	}
	var added []bool
	err := againstOthers(ctx, func() error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
			added, err = pgstore.ImportSuppressions(ctx, tx, list, c.dry)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	var fresh []pgstore.Address
	for n, i := range at {
		out[i].verdict = verdictAlready
		if added[n] {
			out[i].verdict = verdictAdded
			fresh = append(fresh, list[n].Address)
		}
	}
	if c.dry {
		return out, nil
	}
	return out, settleCalls(ctx, pool, fresh)
}
