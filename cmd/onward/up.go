package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"onward/cmd/internal/app"
	"onward/cmd/internal/demo"
	"onward/cmd/internal/devdb"
	"onward/jobs/worker"
	"onward/migrations"
)

func runUp(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("up", "[flags]", "Runs everything in one process: web, worker and, unless DATABASE_URL is set, a PostgreSQL of its own.\n"+
		"Addresses that are taken and were not asked for are replaced by free ones.",
		"onward up --demo", "onward up --data /srv/onward", "ONWARD_PUBLIC_ADDR=:9080 onward up")
	data := fs.String("data", ".data", "folder of the embedded database and its secrets")
	play := fs.Bool("demo", false, "start the provider simulator and play a lead's whole life")
	quit := fs.Bool("quit", false, "with --demo: stop at the story's end instead of serving on")
	seed := fs.Uint64("seed", 1, "with --demo: the simulator's seed")
	t.settings(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usagef("takes no arguments")
	}
	cfg, err := app.FromEnv(nil)
	if err != nil {
		return err
	}
	if cfg.DatabaseURL == "" {
		// The server must outlive a first Ctrl-C: jobs that run still write. It is stopped below, last.
		db, err := devdb.Start(context.WithoutCancel(ctx), devdb.Options{
			Dir: filepath.Join(*data, "postgres"), Fsync: true, Logger: app.NewLogger(cfg, t.stderr),
		})
		if err != nil {
			return err
		}
		defer func() {
			if err := db.Stop(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintln(t.stderr, "onward up: stop the database:", err)
			}
		}()
		cfg.DatabaseURL = db.DSN("postgres")
	}
	if cfg.SecretKey == "" {
		if cfg.SecretKey, err = ownKey(*data); err != nil {
			return err
		}
	}
	if err := freeAddresses(ctx, &cfg); err != nil {
		return err
	}
	if err := migrateUp(ctx, cfg); err != nil {
		return err
	}
	o := app.Options{Role: app.RoleUp, Version: version, Config: cfg, Stderr: t.stderr}
	if *play {
		return demo.Run(ctx, demo.Options{App: o, Out: t.stdout, Quit: *quit, Seed: *seed})
	}
	o.Moved = func(worker.Moved) {}
	a, err := app.New(ctx, o)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "console   http://%s/ (log in with a token: onward token create)\nwebhooks  %s (public address %s)\nAPI       http://%s/docs\nmetrics   http://%s/metrics\n\nCtrl-C stops.\n",
		a.PrivateAddr(), a.PublicAddr(), a.PublicURL(), a.PrivateAddr(), a.PrivateAddr())
	<-ctx.Done()
	fmt.Fprintln(t.stderr, "stopping: what runs may end")
	return a.Stop(ctx)
}

func migrateUp(ctx context.Context, cfg app.Config) error {
	pool, err := app.Connect(ctx, cfg.Direct(), 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = migrations.Up(ctx, pool, slog.New(slog.DiscardHandler))
	return err
}

// ownKey keeps one secret key beside the embedded database, so that links and sessions survive a restart.
func ownKey(data string) (app.Secret, error) {
	path := filepath.Join(data, "secret_key")
	b, err := os.ReadFile(path)
	if err == nil {
		return app.Secret(b), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the secret key: %w", err)
	}
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	key := hex.EncodeToString(random)
	if err := os.MkdirAll(data, 0o755); err != nil {
		return "", fmt.Errorf("make the data folder: %w", err)
	}
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		return "", fmt.Errorf("write the secret key: %w", err)
	}
	return app.Secret(key), nil
}

// freeAddresses replaces default addresses that are taken, and fills in the public URL where none is set: two
// copies run side by side. An address that was asked for stays, and fails at the start if it is taken.
func freeAddresses(ctx context.Context, cfg *app.Config) error {
	if cfg.PublicAddr == "" {
		addr, err := freeAddress(ctx, "127.0.0.1:8080")
		if err != nil {
			return err
		}
		cfg.PublicAddr = addr
	}
	if cfg.PrivateAddr == "" {
		addr, err := freeAddress(ctx, "127.0.0.1:8081")
		if err != nil {
			return err
		}
		cfg.PrivateAddr = addr
	}
	if cfg.PublicURL == "" {
		_, port, err := net.SplitHostPort(cfg.PublicAddr)
		if err != nil {
			return &app.ConfigError{Problems: []string{"ONWARD_PUBLIC_ADDR: not an address and port"}}
		}
		cfg.PublicURL = "http://127.0.0.1:" + port
	}
	return nil
}

func freeAddress(ctx context.Context, wanted string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", wanted)
	if err == nil {
		return wanted, l.Close()
	}
	port, err := app.FreePort(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", port), nil
}
