package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// replayChunk is how many receipts one transaction enqueues, or one page of a dry run holds.
const replayChunk = 500

func runWebhooksReplay(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("webhooks replay", "[flags] ID…|filters",
		"Gives receipts to the workers again: those that are named, or all that match the filters. What was applied before changes\n"+
			"nothing, and nothing is sent again by it: every fact is recorded once. Each replay goes to the operators' log.\n"+
			"--dry-run asks what this version of the rules would make of them, without changing anything: each receipt is run in a\n"+
			"transaction of its own that is rolled back, and what would differ is printed: the outcome then and now, and statuses.",
		`onward webhooks replay 01997f3e-… --reason "site was created too late" --wait`,
		`onward webhooks replay --outcome failed --since 24h --reason "fixed in 1.4.2" --wait`,
		"onward webhooks replay --dry-run --since 7d", "onward webhooks replay --dry-run --since 7d --json | jq 'select(.stands | not)'")
	filters := addReceiptFlags(fs)
	dry := fs.Bool("dry-run", false, "change nothing: print what would differ")
	reason := fs.String("reason", "", "why: goes to the operators' log")
	wait := fs.Bool("wait", false, "wait for the workers, and print what came of it")
	patience := fs.Duration("timeout", time.Minute, "with --wait: how long, after the last one was given to the workers")
	asJSON := fs.Bool("json", false, "print as JSON, one receipt a line")
	named, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	switch {
	case len(named) == 0 && !filters.any():
		return usagef("name receipts, or say which by filters")
	case len(named) > 0 && filters.any():
		return usagef("name receipts or filter them, not both")
	case !*dry && strings.TrimSpace(*reason) == "":
		return usagef("--reason is missing: it goes to the operators' log")
	case *dry && (*reason != "" || *wait):
		return usagef("--dry-run changes nothing: neither --reason nor --wait go with it")
	}
	if err := filters.check(); err != nil {
		return err
	}
	ids, err := receiptIDs(named)
	if err != nil {
		return err
	}
	pool, err := connectChecked(ctx, dryRunners+1)
	if err != nil {
		return err
	}
	defer pool.Close()
	s, err := newSelection(ctx, pool, ids, filters)
	if err != nil {
		return err
	}
	if *dry {
		return t.dryRun(ctx, pool, s, *asJSON)
	}
	r := &replay{t: t, pool: pool, reason: *reason, json: *asJSON}
	if r.river, err = river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return fmt.Errorf("configure River: %w", err)
	}
	return r.run(ctx, s, *wait, *patience)
}

func receiptIDs(named []string) ([]uuid.UUID, error) {
	ids := make([]uuid.UUID, len(named))
	for i, n := range named {
		id, err := uuid.Parse(n)
		if err != nil {
			return nil, usagef("%s is not the id of a receipt", n)
		}
		ids[i] = id
	}
	return ids, nil
}

// selection walks through the receipts that a command is about, oldest first.
type selection struct {
	pool   *pgxpool.Pool
	ids    []uuid.UUID // named; else those of the filter
	filter pgstore.ReceiptFilter
	total  int64
	last   uuid.UUID
}

func newSelection(ctx context.Context, pool *pgxpool.Pool, ids []uuid.UUID, filters *receiptFlags) (*selection, error) {
	s := &selection{pool: pool, ids: ids, total: int64(len(ids))}
	if len(ids) > 0 {
		return s, nil
	}
	var err error
	if s.filter, err = filters.filter(ctx, pool); err != nil {
		return nil, err
	}
	if s.filter.Until.IsZero() {
		s.filter.Until = time.Now() // what comes meanwhile is nobody's wish
	}
	s.total, err = pgstore.CountReceipts(ctx, pool, s.filter)
	return s, err
}

// next returns the next receipts; none at the end.
func (s *selection) next(ctx context.Context) ([]uuid.UUID, error) {
	if s.total == 0 {
		return nil, nil
	}
	if len(s.ids) > 0 || s.filter.Until.IsZero() {
		n := min(len(s.ids), replayChunk)
		page := s.ids[:n]
		s.ids = s.ids[n:]
		return page, nil
	}
	rows, err := pgstore.ReceiptsAfter(ctx, s.pool, s.filter, s.last, replayChunk)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	page := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		page[i] = r.ID
	}
	s.last = page[len(page)-1]
	return page, nil
}

// replay gives receipts to the workers again.
type replay struct {
	t      *terminal
	pool   *pgxpool.Pool
	river  *river.Client[pgx.Tx]
	reason string
	json   bool

	receipts []uuid.UUID // enqueued, with their jobs
	jobs     []int64
	gone     []uuid.UUID // no such receipt, or blanked
	idle     int         // receipts that no job applies
}

// replayed is a line of the output.
type replayed struct {
	ReceiptID uuid.UUID `json:"receipt_id"`
	JobID     int64     `json:"job_id"`
	JobState  string    `json:"job_state,omitempty"`
	Outcome   string    `json:"outcome,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	Facts     int       `json:"facts"`
}

func (r *replay) run(ctx context.Context, s *selection, wait bool, patience time.Duration) error {
	p := r.t.newProgress("receipts")
	for done := int64(0); ; {
		ids, err := s.next(ctx)
		if err != nil || len(ids) == 0 {
			p.end()
			if err != nil {
				return err
			}
			break
		}
		if err := r.enqueue(ctx, ids); err != nil {
			p.end()
			return err
		}
		done += int64(len(ids))
		p.set(done, s.total)
	}
	// What is said beside a list of objects must not stand among them.
	say := r.t.stdout
	if r.json {
		say = r.t.stderr
	}
	fmt.Fprintf(say, "gave %s to the workers again\n", plural(int64(len(r.jobs)), "receipt"))
	if r.idle > 0 {
		fmt.Fprintf(say, "left %s alone that no job applies\n", plural(int64(r.idle), "receipt"))
	}
	var err error
	if wait && len(r.jobs) > 0 {
		err = r.wait(ctx, say, patience)
	} else if r.json {
		err = r.print(nil, true)
	}
	if len(r.gone) > 0 {
		err = errors.Join(err, fmt.Errorf("%s not found: past retention, erased or never there (%s)", plural(int64(len(r.gone)), "receipt"), r.gone[0]))
	}
	return err
}

// enqueue takes some receipts in one transaction, with the entries of the operators' log.
func (r *replay) enqueue(ctx context.Context, ids []uuid.UUID) error {
	var taken []pgstore.Receipt
	var inserted []int64
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		taken, inserted = nil, nil
		list, err := pgstore.TakeForReplay(ctx, tx, ids)
		if err != nil {
			return err
		}
		var params []river.InsertManyParams
		var targets []string
		for _, w := range list {
			if args := jobs.ForReceipt(w.Provider, w.Kind, w.ID.String()); args != nil {
				params, targets = append(params, river.InsertManyParams{Args: args}), append(targets, w.ID.String())
				taken = append(taken, w)
			} else {
				r.idle++
			}
		}
		r.gone = append(r.gone, missing(ids, list)...)
		if len(params) == 0 {
			return nil
		}
		results, err := r.river.InsertManyTx(ctx, tx, params)
		if err != nil {
			return fmt.Errorf("enqueue receipts: %w", err)
		}
		for _, res := range results {
			inserted = append(inserted, res.Job.ID)
		}
		_, err = recordActions(ctx, tx, "receipt.replay", "receipt", targets, r.reason, nil)
		return err
	})
	if err != nil {
		return err
	}
	for i, w := range taken {
		r.receipts, r.jobs = append(r.receipts, w.ID), append(r.jobs, inserted[i])
	}
	return nil
}

func missing(ids []uuid.UUID, found []pgstore.Receipt) []uuid.UUID {
	have := make(map[uuid.UUID]bool, len(found))
	for _, f := range found {
		have[f.ID] = true
	}
	var list []uuid.UUID
	for _, id := range ids {
		if !have[id] {
			list = append(list, id)
		}
	}
	return list
}

// replayLook is the time between two looks at jobs.
const replayLook = 200 * time.Millisecond

// wait prints each receipt when its job is done.
func (r *replay) wait(ctx context.Context, say io.Writer, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("time-out of waiting for the workers (%s)", patience))
	defer cancel()
	tick := time.NewTicker(replayLook)
	defer tick.Stop()
	p := r.t.newProgress("receipts")
	defer p.end()
	total := len(r.jobs)
	changed, facts := 0, 0
	for {
		done, err := r.look(ctx)
		if err == nil {
			p.print(func() { err = r.print(done, false) })
		}
		if err != nil {
			return err
		}
		for _, d := range done {
			if d.Facts > 0 {
				changed++
				facts += d.Facts
			}
		}
		p.set(int64(total-len(r.jobs)), int64(total))
		if len(r.jobs) == 0 {
			p.end()
			fmt.Fprintf(say, "applied %s: %s led to %s, the others changed nothing\n",
				plural(int64(total), "receipt"), grouped(int64(changed)), plural(int64(facts), "fact"))
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s not applied yet: is a worker running? (%w)", plural(int64(len(r.jobs)), "receipt"), context.Cause(ctx))
		}
	}
}

// look takes the receipts whose job came to an end, or waits for something else, off the list.
func (r *replay) look(ctx context.Context) ([]pgstore.ReplayJob, error) {
	var done []pgstore.ReplayJob
	var receipts []uuid.UUID
	var open []int64
	for from := 0; from < len(r.jobs); from += replayChunk {
		to := min(from+replayChunk, len(r.jobs))
		list, err := pgstore.ReadReplays(ctx, r.pool, r.receipts[from:to], r.jobs[from:to])
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			// One that waits for a match, or for its next attempt, has told what there is to tell for now.
			if x.Finished() || x.JobState == "retryable" || x.JobState == "scheduled" && x.Outcome == "unmatched" {
				done = append(done, x)
				continue
			}
			receipts, open = append(receipts, x.ReceiptID), append(open, x.JobID)
		}
	}
	r.receipts, r.jobs = receipts, open
	return done, nil
}

// print prints what came of receipts, or of those that nobody waits for, which job they have.
func (r *replay) print(done []pgstore.ReplayJob, enqueued bool) error {
	out := r.t.newListing(r.json)
	if enqueued {
		for i, id := range r.receipts {
			if err := out.row(replayed{ReceiptID: id, JobID: r.jobs[i]}); err != nil {
				return err
			}
		}
		return out.end()
	}
	for _, d := range done {
		effect := "changed nothing"
		if d.Facts > 0 {
			effect = plural(int64(d.Facts), "fact")
		}
		state := d.JobState
		if state == "completed" || state == "" {
			state = d.Outcome
		}
		line := replayed{ReceiptID: d.ReceiptID, JobID: d.JobID, JobState: d.JobState, Outcome: d.Outcome, Detail: d.Detail, Facts: d.Facts}
		if err := out.row(line, d.ReceiptID.String(), state, effect, d.Detail); err != nil {
			return err
		}
	}
	return out.end()
}
