package jobadmin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Group is the failures of one cause.
type Group struct {
	Fingerprint string         `json:"fingerprint"`
	Text        string         `json:"text"`    // what they have in common
	Example     string         `json:"example"` // the newest one's error
	JobID       int64          `json:"job_id"`  // the newest one
	Count       int            `json:"count"`
	Kinds       map[string]int `json:"kinds"`
	States      map[string]int `json:"states"`
	Queues      map[string]int `json:"queues"`
	First       time.Time      `json:"first_at"` // last attempts: the earliest and the latest
	Last        time.Time      `json:"last_at"`
}

// MaxGrouped is how many failures are grouped: the newest. Reading more takes longer than an operator waits.
const MaxGrouped = 100_000

// Groups puts together the failures of a filter by what they have in common, the largest group first, and reports
// whether there were more than [MaxGrouped]. Jobs without an error are left out.
func Groups(ctx context.Context, q Querier, f Filter) (groups []Group, more bool, err error) {
	if len(f.States) == 0 {
		f.States = []string{"retryable", "discarded", "cancelled"}
	}
	args := []any{}
	condition := f.where(&args)
	args = append(args, MaxGrouped+1)
	rows, err := q.Query(ctx, `
		SELECT j.id, j.kind, j.queue, j.state::text, COALESCE(j.attempted_at, j.created_at), `+lastError+`
		FROM river_job j
		WHERE `+condition+`
			AND array_length(j.errors, 1) > 0
		ORDER BY j.id + 0 DESC`+fmt.Sprintf(`
		LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, false, fmt.Errorf("group jobs: %w", err)
	}
	byID := map[string]*Group{}
	fingerprints := map[string]Fingerprint{} // of shapes seen before: most are the same
	n := 0
	var j failure
	_, err = pgx.ForEachRow(rows, []any{&j.id, &j.kind, &j.queue, &j.state, &j.at, &j.text}, func() error {
		if n++; n > MaxGrouped {
			more = true
			return nil
		}
		like := shape(j.text)
		p, ok := fingerprints[like]
		if !ok {
			p = FingerprintOf(like)
			fingerprints[like] = p
		}
		if f.Fingerprint != "" && f.Fingerprint != p.ID {
			return nil
		}
		g := byID[p.ID]
		if g == nil {
			g = &Group{
				Fingerprint: p.ID, Text: p.Text, Example: j.text, JobID: j.id,
				Kinds: map[string]int{}, States: map[string]int{}, Queues: map[string]int{},
			}
			byID[p.ID] = g
		}
		g.add(j)
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("group jobs: %w", err)
	}
	for _, g := range byID {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return groups, more, nil
}

// failure is what a group needs of a job.
type failure struct {
	id                       int64
	kind, queue, state, text string
	at                       time.Time
}

func (g *Group) add(j failure) {
	g.Count++
	g.Kinds[j.kind]++
	g.States[j.state]++
	g.Queues[j.queue]++
	at := j.at.UTC()
	if g.First.IsZero() || at.Before(g.First) {
		g.First = at
	}
	if at.After(g.Last) {
		g.Last = at
	}
}
