package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"onward/migrations"
	"onward/web/apitoken"
)

func runToken(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("token", "create|list|revoke [flags]",
		"API tokens. The secret of a new one is printed once, on stdout, alone. Roles: viewer reads, operator acts, admin also\nmanages tokens and erases.",
		"TOKEN=$(onward token create --name deploy --role operator)", "onward token list", "onward token revoke --name deploy")
	name := fs.String("name", "", "create: what the token is for, as it will stand in the operators' log; revoke: name or id")
	role := fs.String("role", "", "create: viewer, operator or admin")
	asJSON := fs.Bool("json", false, "list: print as JSON, one token a line")
	if len(args) == 0 {
		return usagef("say create, list or revoke")
	}
	verb, rest := args[0], args[1:]
	if len(verb) > 0 && verb[0] == '-' {
		rest = args
	}
	if err := parse(fs, rest); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{"create", "list", "revoke"}, verb):
		return usagef("no verb %q: say create, list or revoke", verb)
	case fs.NArg() > 0:
		return usagef("unexpected argument %q", fs.Arg(0))
	case (verb == "create" || verb == "revoke") && *name == "":
		return usagef("--name is missing")
	case verb == "create" && *role == "":
		return usagef("--role is missing: viewer, operator or admin")
	}
	pool, err := connect(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	switch verb {
	case "create":
		_, secret, err := apitoken.Create(ctx, pool, *name, apitoken.Role(*role))
		if errors.Is(err, apitoken.ErrName) || errors.Is(err, apitoken.ErrRole) {
			return usagef("%s", err.Error())
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(t.stdout, secret)
	case "revoke":
		gone, err := apitoken.Revoke(ctx, pool, *name)
		if err != nil {
			return err
		}
		fmt.Fprintf(t.stdout, "revoked %d; running processes refuse it within %s\n", len(gone), apitoken.CacheFor)
	case "list":
		list, err := apitoken.List(ctx, pool)
		if err != nil {
			return err
		}
		return t.printTokens(list, *asJSON)
	}
	return nil
}

func (t *terminal) printTokens(list []apitoken.Token, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(t.stdout)
		for _, k := range list {
			err := enc.Encode(map[string]any{
				"id": k.PublicID, "name": k.Name, "role": k.Role, "created_at": k.CreatedAt, "last_used_at": k.LastUsedAt, "revoked_at": k.RevokedAt,
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(t.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tROLE\tCREATED\tLAST USED\tREVOKED")
	when := func(at *time.Time) string {
		if at == nil {
			return "-"
		}
		return at.UTC().Format(time.RFC3339)
	}
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.PublicID, k.Name, k.Role, when(&k.CreatedAt), when(k.LastUsedAt), when(k.RevokedAt))
	}
	return w.Flush()
}
