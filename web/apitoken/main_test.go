package apitoken_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"onward/cmd/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func newDB(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return pgtest.New(t, pgtest.Schema).Pool
}
