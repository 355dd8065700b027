package inbox_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkAccept measures status callbacks from 64 callers at a time, each waiting for its commit.
func BenchmarkAccept(b *testing.B) {
	in := started(b, nil)
	var n atomic.Int64
	b.SetParallelism(32) // times GOMAXPROCS
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _, err := in.Accept(b.Context(), status(int(n.Add(1))))
			require.NoError(b, err)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
}
