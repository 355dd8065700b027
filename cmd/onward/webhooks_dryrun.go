package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/cmd/internal/app"
	"onward/jobs/worker"
)

// dryRunners is how many receipts are run at once: beside the workers, which must not feel it.
const dryRunners = 4

// dryLine is a line of the output of a dry run.
type dryLine struct {
	worker.Replay
	Stands bool   `json:"stands"`
	Error  string `json:"error,omitempty"`
}

// dryRun prints what this version would make of receipts. It changes nothing.
func (t *terminal) dryRun(ctx context.Context, pool *pgxpool.Pool, s *selection, asJSON bool) error {
	cfg, err := app.FromEnv(nil)
	if err != nil {
		return err
	}
	replayer, err := worker.NewReplayer(worker.ReplayOptions{Pool: pool, RecurrenteLive: cfg.RecurrenteLive})
	if err != nil {
		return err
	}
	out := t.newListing(asJSON, "received", "provider", "kind", "then → now", "what would differ", "id")
	p := t.newProgress("receipts")
	defer p.end()
	var sum drySummary
	for {
		ids, err := s.next(ctx)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			break
		}
		lines := dryRunAll(ctx, replayer, ids)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.print(func() {
			for _, l := range lines {
				sum.add(l)
				if err = out.row(l, when(l.ReceivedAt), l.Provider, l.Kind, l.Then+" → "+l.Now, l.differs(), l.ReceiptID.String()); err != nil {
					return
				}
			}
			err = out.end()
		})
		if err != nil {
			return err
		}
		p.set(sum.receipts, s.total)
	}
	p.end()
	say := t.stdout
	if asJSON {
		say = t.stderr
	}
	fmt.Fprintln(say, sum.String())
	if sum.failed > 0 {
		return fmt.Errorf("%s could not be run: see their lines", plural(sum.failed, "receipt"))
	}
	return nil
}

// dryRunAll runs receipts side by side, and returns them in their order.
func dryRunAll(ctx context.Context, replayer *worker.Replayer, ids []uuid.UUID) []dryLine {
	lines := make([]dryLine, len(ids))
	next := make(chan int)
	var runners sync.WaitGroup
	for range dryRunners {
		runners.Go(func() {
			for i := range next {
				r, err := replayer.DryRun(ctx, ids[i])
				lines[i] = dryLine{Replay: r, Stands: err == nil && r.Stands()}
				switch {
				case errors.Is(err, worker.ErrNoReceipt):
					lines[i].Error = "no such receipt, or past its retention"
				case err != nil:
					lines[i].Error = err.Error()
				}
			}
		})
	}
	for i := range ids {
		next <- i
	}
	close(next)
	runners.Wait()
	return lines
}

// differs says in words what a replay would change.
func (l dryLine) differs() string {
	if l.Error != "" {
		return "error: " + l.Error
	}
	var parts []string
	for _, c := range l.Changes {
		parts = append(parts, fmt.Sprintf("business %s %s: %s → %s (%s)", c.BusinessID, c.Axis, c.From, c.To, c.Verdict))
	}
	if len(l.Changes) == 0 && l.Facts > 0 {
		parts = append(parts, plural(int64(l.Facts), "new fact")+", no status")
	}
	if len(l.Enqueued) > 0 {
		parts = append(parts, "would enqueue "+strings.Join(l.Enqueued, ", "))
	}
	switch {
	case len(parts) > 0:
	case l.Stands:
		parts = append(parts, "stands")
	case l.Now == "applied":
		parts = append(parts, "a message would move")
	default:
		parts = append(parts, "no status, but another outcome")
	}
	return strings.Join(parts, "; ")
}

// drySummary adds a dry run up.
type drySummary struct{ receipts, stand, differ, statuses, failed int64 }

func (s *drySummary) add(l dryLine) {
	s.receipts++
	s.statuses += int64(len(l.Changes))
	switch {
	case l.Error != "":
		s.failed++
	case l.Stands:
		s.stand++
	default:
		s.differ++
	}
}

// String is the last line of a dry run.
func (s *drySummary) String() string {
	verb := "stand"
	if s.stand == 1 {
		verb = "stands"
	}
	noun := "statuses"
	if s.statuses == 1 {
		noun = "status"
	}
	return fmt.Sprintf("%s: %s %s, %s would differ, with %s %s; nothing was changed",
		plural(s.receipts, "receipt"), grouped(s.stand), verb, grouped(s.differ), grouped(s.statuses), noun)
}
