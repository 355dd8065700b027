package app_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/cmd/pgtest"
	"onward/jobs/provider/providersim"
)

// pooler starts a PgBouncer in front of a database, in transaction mode with few connections, and returns its DSN.
func pooler(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Skip("PgBouncer is not installed")
		}
	}
	c, err := pgx.ParseConfig(db.Server.TCPDSN(databaseName(t, db)))
	require.NoError(t, err)
	port, err := app.FreePort(t.Context())
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "onward-pgbouncer-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	ini := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(t, os.WriteFile(ini, fmt.Appendf(nil, `[databases]
pooled = host=%s port=%d dbname=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 6
max_client_conn = 200
`, c.Host, c.Port, c.Database, c.User, c.Password, port), 0o644))
	cmd := exec.Command(bin, "-q", ini) //nolint:gosec // Debian's, or what the PATH says
	cmd.Stderr = t.Output()
	if os.Geteuid() == 0 { // which it refuses to run as
		data, err := os.Stat(filepath.Join(db.Server.Dir(), "data"))
		require.NoError(t, err)
		owner, ok := data.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr) //nolint:noctx // loopback
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, patience, 20e6)
	return "postgres://" + c.User + "@" + addr + "/pooled?sslmode=disable"
}

func databaseName(t *testing.T, db *pgtest.DB) (name string) {
	t.Helper()
	require.NoError(t, db.Pool.QueryRow(t.Context(), `SELECT current_database()`).Scan(&name))
	return name
}

// Behind a pooler that hands each transaction to another session, everything works as without: mail and texts, callbacks,
// replies, opt-outs, purchases, the API.
func TestPooler_aWholeLife(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, pgtest.Schema)
	dsn := pooler(t, db)
	s := startOn(t, db, func(o *app.Options) {
		o.Config.DatabaseURL, o.Config.ListenDatabaseURL = dsn, db.DSN
	}, nil)
	var businesses, phones []string
	for range 20 {
		id, phone, _ := s.business("")
		businesses, phones = append(businesses, id), append(phones, phone)
	}
	s.awaitCampaign(s.campaign("email", businesses...), "sent")
	s.awaitCampaign(s.campaign("sms", businesses...), "sent")
	for i, id := range businesses {
		s.awaitStatus(id, "contact_status", "sms_sent")
		text := "Yes, please"
		if i%2 == 1 {
			text = "STOP"
		}
		require.Equal(t, 200, s.reply(newSID("SM"), phones[i], text))
	}
	for i, id := range businesses {
		s.awaitStatus(id, "contact_status", []string{"replied", "unsubscribed"}[i%2])
	}
	_, _, err := s.sim.Charge(providersim.Charge{SiteID: s.site(businesses[0], ""), SubscriptionID: "su_pooled", AmountInCents: 25000, Currency: "GTQ"})
	require.NoError(t, err)
	s.awaitStatus(businesses[0], "contact_status", "purchased")
	calls := len(s.sim.Calls())
	s.awaitCampaign(s.campaign("sms", businesses[1]), "sent")
	require.Len(t, s.sim.Calls(), calls, "a text after STOP")
}
