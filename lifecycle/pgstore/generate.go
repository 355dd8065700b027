package pgstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// GenerateOptions say what [Generate] makes up.
type GenerateOptions struct {
	Businesses int // at least 1
	Facts      int // over all businesses together: some get none, some many; at most MaxMeanFacts a business
	// Seed makes the same data of the same numbers, in a database as full as it was.
	Seed uint64
	// Until is when the made-up history ends; it begins 90 days before. Zero: the start of today, UTC.
	Until time.Time
	// Outreach adds what the facts would have come with: campaigns that were sent, their messages, replies, payments.
	Outreach bool
	// Append adds to a database that has businesses already; else that is [ErrNotEmpty].
	Append bool

	Progress func(done, total int64) // businesses; may be nil
}

// Generated is how much was made.
type Generated struct {
	Businesses, Sites, Facts, Transitions, Suppressions int64
}

// ErrNotEmpty says that made-up data would be mixed with what is there.
var ErrNotEmpty = errors.New("the database has businesses already")

const (
	// MaxMeanFacts bounds what a chunk of businesses takes in memory.
	MaxMeanFacts = 10_000
	// A chunk is one transaction: large enough that its commit costs nothing, small enough that two fit in 20 MB.
	chunkBusinesses = 1500
	chunkFacts      = 20_000
)

// Generate fills a database with made-up businesses and facts, with the statuses and transitions that [Apply] would
// have written had the facts come to it one by one. It copies where Apply inserts. Nobody can be reached at the
// addresses: phones are under +999, which is no country's, mailboxes under the top-level domain example. When it is
// interrupted, what is there is consistent.
func Generate(ctx context.Context, pool *pgxpool.Pool, o GenerateOptions) (Generated, error) {
	var made Generated
	switch {
	case o.Businesses < 1:
		return made, errors.New("at least one business")
	case o.Facts < 0 || o.Facts/o.Businesses > MaxMeanFacts:
		return made, fmt.Errorf("between 0 and %d facts a business", MaxMeanFacts)
	}
	if o.Until.IsZero() {
		o.Until = time.Now().UTC().Truncate(24 * time.Hour)
	}
	// Where it goes on: the numbers of what is there are not used again.
	var from int64
	if err := pool.QueryRow(ctx, `SELECT COALESCE(max(id), 0) FROM businesses`).Scan(&from); err != nil {
		return made, fmt.Errorf("look for businesses: %w", err)
	}
	if from > 0 && !o.Append {
		return made, ErrNotEmpty
	}
	campaigns := planCampaigns(o)
	order, err := orderMade(ctx, pool, o, from, campaigns)
	if err != nil {
		return made, err
	}
	if o.Outreach {
		if err := storeCampaigns(ctx, pool, o, campaigns); err != nil {
			return made, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan []*life) // one is made up while another is copied
	ended := make(chan struct{})
	defer func() {
		cancel()
		<-ended
	}()
	go func() {
		defer close(ended)
		defer close(chunks)
		makeUp(ctx, o, from, campaigns, chunks)
	}()
	for chunk := range chunks {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if err := copyLives(ctx, tx, chunk, order); err != nil || from > 0 {
				return err
			}
			// No provider took these messages: none is to be asked about them. Beside messages that one took, it is.
			_, err := tx.Exec(ctx, `UPDATE poll_progress SET fact_id = (SELECT COALESCE(max(id), 0) FROM facts)`)
			return err
		})
		if err != nil {
			return made, fmt.Errorf("store made-up businesses: %w", err)
		}
		made.add(chunk)
		if o.Progress != nil {
			o.Progress(made.Businesses, int64(o.Businesses))
		}
	}
	if err := ctx.Err(); err != nil {
		return made, fmt.Errorf("make up businesses: %w", context.Cause(ctx))
	}
	// Until autovacuum comes by, the planner would take the tables for empty.
	if _, err := pool.Exec(ctx, `ANALYZE businesses, sites, facts, transitions, suppressions`); err != nil {
		return made, fmt.Errorf("analyze: %w", err)
	}
	return made, nil
}

func (g *Generated) add(chunk []*life) {
	for _, l := range chunk {
		g.Businesses++
		g.Facts += int64(len(l.facts))
		g.Transitions += int64(len(l.transitions))
		if l.hasSite {
			g.Sites++
		}
		if l.b.state.Contact.OptedOut {
			g.Suppressions++
		}
	}
}

// makeUp sends chunks until all businesses are made or ctx ends.
func makeUp(ctx context.Context, o GenerateOptions, from int64, campaigns []madeCampaign, chunks chan<- []*life) {
	for chunk := range makeChunks(o, from, campaigns) {
		select {
		case chunks <- chunk:
		case <-ctx.Done():
			return
		}
	}
}

// makeChunks makes all up, a chunk at a time: the same each time.
func makeChunks(o GenerateOptions, from int64, campaigns []madeCampaign) iter.Seq[[]*life] {
	return func(yield func([]*life) bool) {
		r := rand.New(rand.NewPCG(o.Seed, uint64(from)))
		size := min(chunkBusinesses, max(1, chunkFacts/(o.Facts/o.Businesses+1)))
		for start := 0; start < o.Businesses; start += size {
			end := min(start+size, o.Businesses)
			chunk := make([]*life, end-start)
			counts := shares(r, len(chunk), upTo(o, end)-upTo(o, start))
			for i := range chunk {
				chunk[i] = live(r, o, from, from+int64(start+i)+1, counts[i], campaigns)
			}
			if !yield(chunk) {
				return
			}
		}
	}
}

// upTo is how many facts the first n businesses have together.
func upTo(o GenerateOptions, n int) int {
	return int(float64(o.Facts) * float64(n) / float64(o.Businesses))
}

// shares splits total among n: most get few, a few get many.
func shares(r *rand.Rand, n, total int) []int {
	weights := make([]float64, n)
	var sum float64
	for i := range weights {
		weights[i] = r.ExpFloat64()
		sum += weights[i]
	}
	out := make([]int, n)
	var before int
	var part float64
	for i, w := range weights {
		part += w
		upTo := int(float64(total) * part / sum)
		if i == n-1 {
			upTo = total
		}
		out[i], before = upTo-before, upTo
	}
	return out
}
