package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const pgbench15 = `pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: /tmp/onward-floor-1.sql
scaling factor: 1
query mode: prepared
number of clients: 64
number of threads: 1
maximum number of tries: 1
duration: 2 s
number of transactions actually processed: 7214
number of failed transactions: 0 (0.000%)
latency average = 17.561 ms
initial connection time = 61.337 ms
tps = 3644.436391 (without initial connection time)
`

func TestParsePgbench(t *testing.T) {
	t.Parallel()
	r, err := parsePgbench(pgbench15)
	require.NoError(t, err)
	require.Equal(t, 7214, r.transactions)
	require.InDelta(t, 3644.436391, r.perSecond, 1e-9)
	require.Equal(t, 17561*time.Microsecond, r.averageLatency)

	// With -t, and as of PostgreSQL 14.
	r, err = parsePgbench("number of transactions actually processed: 640/640\nlatency average = 1.000 ms\ntps = 12.5 (without initial connection time)\n")
	require.NoError(t, err)
	require.Equal(t, 640, r.transactions)
}

func TestParsePgbench_refusesWhatIsNoMeasurement(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "can't be read",
		"number of transactions actually processed: 5\n":                                                                                      "can't be read",
		"number of transactions actually processed: 0\ntps = 0.0 (without initial connection time)\n":                                         "no transaction",
		"number of transactions actually processed: 5\nnumber of failed transactions: 2 (40%)\ntps = 1.0 (without initial connection time)\n": "2 transactions failed",
	} {
		_, err := parsePgbench(text)
		require.ErrorContains(t, err, want)
	}
}

func TestWithoutPassword(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string][2]string{
		"postgres://me:secret@db/bench?sslmode=disable":                          {"postgres://me@db/bench?sslmode=disable", "secret"},
		"postgres://me@/bench?host=%2Frun&port=5432":                             {"postgres://me@/bench?host=%2Frun&port=5432", ""},
		"postgres://db/bench":                                                    {"postgres://db/bench", ""},
		"postgres://me:s@db/bench?pool_max_conns=8&default_query_exec_mode=exec": {"postgres://me@db/bench", "s"},
	} {
		without, password := withoutPassword(dsn)
		require.Equal(t, want, [2]string{without, password}, dsn)
	}
}
