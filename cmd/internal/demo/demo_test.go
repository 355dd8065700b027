package demo_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/cmd/internal/demo"
	"onward/cmd/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// The story ends with an opt-out and a cancellation, which hold: the next story in the same database tells of others.
func TestRun_againInTheSameDatabase(t *testing.T) {
	db := pgtest.New(t, pgtest.Schema)
	for range 3 {
		var out, log bytes.Buffer
		port, err := app.FreePort(t.Context())
		require.NoError(t, err)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		err = demo.Run(t.Context(), demo.Options{
			App: app.Options{Role: app.RoleUp, Version: "test", Stderr: &log, Config: app.Config{
				DatabaseURL: db.DSN, PublicAddr: addr, PrivateAddr: "127.0.0.1:0", PublicURL: "http://" + addr,
				SecretKey: app.Secret(strings.Repeat("k", 32)), UnknownSends: "hold", RetentionDays: 90, LogFormat: "text", LogLevel: "warn",
			}},
			Out: &out, Quit: true, Seed: 1,
		})
		require.NoError(t, err, "%s\n%s", out.String(), log.String())
		require.Contains(t, out.String(), "made 0 calls to Twilio: STOP holds")
	}
}
