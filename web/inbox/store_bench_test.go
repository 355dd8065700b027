package inbox

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
)

// BenchmarkStore measures transactions of 128 receipts, one after another.
func BenchmarkStore(b *testing.B) {
	const size = 128
	for name, every := range map[string]int{"one kind": size + 1, "two kinds": 2} {
		b.Run(name, func(b *testing.B) {
			pool := pgtest.New(b, pgtest.Schema).Pool
			client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
			require.NoError(b, err)
			in, err := New(Options{Pool: pool, River: client})
			require.NoError(b, err)
			n := 0
			for b.Loop() {
				batch := make([]*entry, size)
				for at := range batch {
					n++
					r := Receipt{
						Provider: jobs.ProviderTwilio, Kind: jobs.KindMessageStatus, Query: "m=0197c5a1-0d52-7dc5-a4d5-5e5bf5a7b0e5&a=1",
						Headers: []Header{
							{"Content-Type", []string{"application/x-www-form-urlencoded"}},
							{"I-Twilio-Idempotency-Token", []string{"3c0a4a1e-0d52-4dc5-a4d5-5e5bf5a7b0e5"}},
							{"User-Agent", []string{"TwilioProxy/1.1"}},
							{"X-Twilio-Signature", []string{"RSOYDt4T1cUTdK1PDd93/VVr8B8="}},
						},
						Body: make([]byte, 450), DedupeKey: fmt.Sprintf("ts:SM%032x:delivered", (n*2654435761)&0xffffffff), ContactKey: fmt.Sprintf("sms:+1555%07d", n),
					}
					if n%every == 0 {
						r.Kind = jobs.KindInboundMessage
					}
					batch[at], err = newEntry(r, time.Now)
					require.NoError(b, err)
				}
				s, err := in.store(b.Context(), batch, func() {})
				require.NoError(b, err)
				require.Len(b, s.ids, size)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "µs/receipt")
		})
	}
}
