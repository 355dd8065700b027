package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/jobs"
	"onward/lifecycle/pgstore"
	"onward/web/inbox"
)

func runSuppressions(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("suppressions", "list|add|lift|import|export [flags]",
		"Addresses that must not be written to. add, lift and import take a reason for the operators' log. From the end of add and\n"+
			"import on, no send to the address starts. import reads CSV in UTF-8 with the columns channel (sms, email; without it an\n"+
			"address with an @ is email), address and reason; export writes it. Suppressions of erased contacts are kept as hashes that\n"+
			"still block, and are left out of an export.",
		"onward suppressions list --channel sms", `onward suppressions add +15551230001 --reason "asked by phone"`,
		`onward suppressions lift +15551230001 --reason "asked to get texts again"`,
		`onward suppressions import blocklist.csv --reason "list of the previous provider" --dry-run`, "onward suppressions export > suppressions.csv")
	c := &suppressionsCommand{t: t}
	fs.StringVar(&c.reason, "reason", "", "add, lift, import: why; goes to the operators' log")
	fs.StringVar(&c.channel, "channel", "", "sms or email (add, lift, import: default as the address looks)")
	fs.StringVar(&c.country, "country", "", "add, lift, import: country (ISO 3166-1 alpha-2) by which numbers without + are read")
	fs.StringVar(&c.state, "state", "active", "list: active, lifted or all")
	fs.IntVar(&c.limit, "limit", 100, "list: how many, newest first; 0: all")
	fs.BoolVar(&c.dry, "dry-run", false, "import: say what would come of each row; change nothing")
	fs.StringVar(&c.refused, "refused", "", "import: where refused rows are written (default FILE.refused.csv)")
	fs.BoolVar(&c.json, "json", false, "list: one a line as JSON; import: the summary as JSON")
	if len(args) == 0 {
		return usagef("say list, add, lift, import or export")
	}
	verb, rest := args[0], args[1:]
	if strings.HasPrefix(verb, "-") {
		rest = args
	}
	return c.run(ctx, fs, verb, rest)
}

// suppressionsCommand is one call of the command.
type suppressionsCommand struct {
	t                                        *terminal
	reason, channel, country, state, refused string
	limit                                    int
	dry, json                                bool
}

func (c *suppressionsCommand) run(ctx context.Context, fs *flag.FlagSet, verb string, args []string) error {
	rest, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	c.reason = strings.TrimSpace(c.reason)
	changes := verb == "add" || verb == "lift" || verb == "import"
	switch {
	case c.channel != "" && c.channel != jobs.ChannelSMS && c.channel != jobs.ChannelEmail:
		return usagef("--channel %s: there are sms and email", c.channel)
	case c.state != "active" && c.state != "lifted" && c.state != "all":
		return usagef("--state %s: there are active, lifted and all", c.state)
	case changes && c.reason == "" && !c.dry:
		return usagef("--reason is missing: it goes to the operators' log")
	case (verb == "add" || verb == "lift") && len(rest) == 0:
		return usagef("name one address or more")
	case verb == "import" && len(rest) != 1:
		return usagef("name one file, or - for stdin")
	case !changes && len(rest) > 0:
		return usagef("unexpected argument %q", rest[0])
	}
	switch verb {
	case "list":
		return c.list(ctx)
	case "add":
		return c.add(ctx, rest)
	case "lift":
		return c.lift(ctx, rest)
	case "import":
		return c.importFile(ctx, rest[0])
	case "export":
		return c.export(ctx)
	}
	return usagef("no verb %q: say list, add, lift, import or export", verb)
}

func (c *suppressionsCommand) list(ctx context.Context) error {
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	f := pgstore.SuppressionFilter{Channel: c.channel, State: c.state, Limit: c.limit}
	if c.state == "all" {
		f.State = ""
	}
	out := c.t.newListing(c.json, "channel", "address", "reason", "source", "since", "lifted")
	err = pgstore.EachSuppression(ctx, pool, f, func(s pgstore.StoredSuppression) error {
		lifted := ""
		if s.LiftedAt != nil {
			lifted = when(*s.LiftedAt)
		}
		return out.row(s, s.Channel, s.Address, s.Reason, s.Source, when(s.Since), lifted)
	})
	return errors.Join(err, out.end())
}

// addresses reads those of the command line.
func (c *suppressionsCommand) addresses(list []string) ([]pgstore.Address, error) {
	out := make([]pgstore.Address, len(list))
	for i, raw := range list {
		a, err := pgstore.NormalizeAddress(channelOf(c.channel, raw), raw, c.country)
		if err != nil {
			return nil, usagef("%s %s", raw, err.Error())
		}
		out[i] = a
	}
	return out, nil
}

// channelOf is the channel that was named, else the one that the address looks like.
func channelOf(named, address string) string {
	switch {
	case named != "":
		return strings.ToLower(named)
	case strings.Contains(address, "@"):
		return jobs.ChannelEmail
	}
	return jobs.ChannelSMS
}

// targets is how the operators' log names addresses.
func targets(list []pgstore.Address) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.Channel + ":" + a.Address
	}
	return out
}

func (c *suppressionsCommand) add(ctx context.Context, args []string) error {
	list, err := c.addresses(args)
	if err != nil {
		return err
	}
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	added := 0
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		action, err := recordActions(ctx, tx, "suppression.add", "suppression", targets(list), c.reason, nil)
		if err != nil {
			return err
		}
		suppress := make([]pgstore.Suppression, len(list))
		for i, a := range list {
			suppress[i] = pgstore.Suppression{Address: a, Reason: "operator", Source: pgstore.SourceOperator, SourceID: fmt.Sprint(action)}
		}
		added, err = pgstore.Suppress(ctx, tx, suppress)
		return err
	})
	if err != nil {
		return err
	}
	if err := settleCalls(ctx, pool, list); err != nil {
		return err
	}
	fmt.Fprintf(c.t.stdout, "%s suppressed, %d already\n", grouped(int64(added)), len(list)-added)
	return nil
}

// settleCalls waits until no provider call to the addresses can start any more.
func settleCalls(ctx context.Context, pool *pgxpool.Pool, list []pgstore.Address) error {
	channels, addresses := make([]string, len(list)), make([]string, len(list))
	for i, a := range list {
		channels[i], addresses[i] = a.Channel, a.Address
	}
	rows, err := pool.Query(ctx, `
		SELECT DISTINCT channel, address
		FROM dispatches
		WHERE state = 'calling' AND (channel, address) IN (SELECT * FROM unnest($1::text[], $2::text[]))`, channels, addresses)
	if err != nil {
		return fmt.Errorf("look for sends under way: %w", err)
	}
	calling, err := pgx.CollectRows(rows, pgx.RowToStructByPos[inbox.Hold])
	if err != nil {
		return fmt.Errorf("look for sends under way: %w", err)
	}
	for _, h := range calling {
		if err := inbox.Settle(ctx, pool, h); err != nil {
			return err
		}
	}
	return nil
}

func (c *suppressionsCommand) lift(ctx context.Context, args []string) error {
	list, err := c.addresses(args)
	if err != nil {
		return err
	}
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	var lifted []pgstore.Address
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		lifted = nil
		for _, a := range list {
			was, err := pgstore.Lift(ctx, tx, a, localActor())
			if err != nil {
				return err
			}
			if was {
				lifted = append(lifted, a)
			}
		}
		_, err := recordActions(ctx, tx, "suppression.lift", "suppression", targets(lifted), c.reason, nil)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.t.stdout, "%s lifted, %d not suppressed\n", grouped(int64(len(lifted))), len(list)-len(lifted))
	if len(lifted) == 0 {
		return errors.New("none of the addresses is suppressed")
	}
	return nil
}

// export writes the suppressions that stand, as import reads them.
func (c *suppressionsCommand) export(ctx context.Context) error {
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	out := csv.NewWriter(c.t.stdout)
	if err := out.Write([]string{"channel", "address", "reason", "source", "since"}); err != nil {
		return err
	}
	err = pgstore.EachSuppression(ctx, pool, pgstore.SuppressionFilter{Channel: c.channel, State: "active", Readable: true}, func(s pgstore.StoredSuppression) error {
		return out.Write([]string{s.Channel, s.Address, s.Reason, s.Source, s.Since.Format(time.RFC3339)})
	})
	out.Flush()
	return errors.Join(err, out.Error())
}
