package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func runSubscriptions(ctx context.Context, t *terminal, args []string) error {
	if len(args) == 0 {
		return usagef("say import")
	}
	verb, rest := args[0], args[1:]
	if strings.HasPrefix(verb, "-") {
		rest = args
	} else if verb != "import" {
		return usagef("no verb %q: say import", verb)
	}
	return runSubscriptionsImport(ctx, t, rest)
}

func runSubscriptionsImport(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("subscriptions", "import [flags] FILE",
		"Compares the subscriptions that Recurrente lists with those of our sites, and records a fact for each that differs.\n"+
			"FILE is what Recurrente's API or console exports: JSON (an array, an object with a list in data, or an object a line) or\n"+
			"CSV with a head; of each row id and status count, and updated_at. A row without updated_at speaks as of --as-of. What we\n"+
			"know from later webhooks stays: the fact is recorded, and stale. Rows that no site has are listed and left alone.",
		`onward subscriptions import export.json --dry-run`, `onward subscriptions import export.csv --reason "webhooks were off on 3 May"`)
	dry := fs.Bool("dry-run", false, "print what differs; change nothing")
	reason := fs.String("reason", "", "why: goes to the operators' log")
	asJSON := fs.Bool("json", false, "print as JSON, one difference a line")
	var asOf timeFlag
	fs.Var(&asOf, "as-of", "when FILE was exported (default: when it was last written)")
	files, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	switch {
	case len(files) != 1:
		return usagef("name one file")
	case !*dry && strings.TrimSpace(*reason) == "":
		return usagef("--reason is missing: it goes to the operators' log (or --dry-run)")
	}
	rows, err := readSubscriptions(files[0], &asOf)
	if err != nil {
		return err
	}
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	im := &subscriptionImport{t: t, pool: pool, dry: *dry, reason: *reason, file: filepath.Base(files[0]), out: t.newListing(*asJSON, "subscription", "what", "ours", "theirs", "as of", "business")}
	if err := im.run(ctx, rows); err != nil {
		return err
	}
	say := t.stdout
	if *asJSON {
		say = t.stderr
	}
	fmt.Fprintln(say, im.summary())
	if im.refused > 0 {
		return fmt.Errorf("%s of %s could not be read: see above", plural(int64(im.refused), "row"), im.file)
	}
	return nil
}

// readSubscriptions reads the file whole: a row is some 100 bytes, and a subscription is a customer.
func readSubscriptions(path string, asOf *timeFlag) ([]subscriptionRow, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if asOf.at.IsZero() {
		asOf.at = info.ModTime()
	}
	rows, err := parseSubscriptions(raw, asOf.at)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return rows, nil
}

// importChunk is how many subscriptions one transaction takes.
const importChunk = 200

// subscriptionImport compares and, unless it is dry, records.
type subscriptionImport struct {
	t      *terminal
	pool   *pgxpool.Pool
	dry    bool
	reason string
	file   string
	out    *listing

	action                               int64 // the operators' log, once something is recorded
	same, drift, stale, unknown, refused int
}

// subscriptionLine is a line of the output.
type subscriptionLine struct {
	Subscription string `json:"subscription"`
	What         string `json:"what"` // drift, stale, unknown, refused
	Ours         string `json:"ours,omitempty"`
	Theirs       string `json:"theirs,omitempty"`
	AsOf         string `json:"as_of,omitempty"`
	Business     string `json:"business,omitempty"`
	Why          string `json:"why,omitempty"`
}

func (im *subscriptionImport) print(l subscriptionLine) error {
	what := l.What
	if l.Why != "" {
		what += ": " + l.Why
	}
	return im.out.row(l, l.Subscription, what, l.Ours, l.Theirs, l.AsOf, l.Business)
}

// errDryImport ends the transaction of a dry import: what would be recorded is computed, and rolled back.
var errDryImport = errors.New("dry import")

func (im *subscriptionImport) run(ctx context.Context, rows []subscriptionRow) error {
	p := im.t.newProgress("subscriptions")
	defer p.end()
	for from := 0; from < len(rows); from += importChunk {
		chunk := rows[from:min(from+importChunk, len(rows))]
		var lines []subscriptionLine
		err := pgx.BeginFunc(ctx, im.pool, func(tx pgx.Tx) error {
			var err error
			if lines, err = im.take(ctx, tx, chunk); err != nil {
				return err
			}
			if im.dry {
				return errDryImport
			}
			return nil
		})
		if err != nil && !errors.Is(err, errDryImport) {
			return err
		}
		p.print(func() {
			for _, l := range lines {
				if err = im.print(l); err != nil {
					return
				}
			}
			err = im.out.end()
		})
		if err != nil {
			return err
		}
		p.set(int64(from+len(chunk)), int64(len(rows)))
	}
	return nil
}

// ourSubscription is a subscription as we know it.
type ourSubscription struct {
	site, business int64
	public         string
	status         lifecycle.Status
}

// take compares a chunk, and records a fact for each that differs. It returns a line for each that is worth one.
func (im *subscriptionImport) take(ctx context.Context, tx pgx.Tx, chunk []subscriptionRow) ([]subscriptionLine, error) {
	ids := make([]string, 0, len(chunk))
	for _, r := range chunk {
		ids = append(ids, r.id)
	}
	ours, err := readOurSubscriptions(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	var lines []subscriptionLine
	for _, r := range chunk {
		l := subscriptionLine{Subscription: r.id, Theirs: r.status, AsOf: when(r.at)}
		site, known := ours[r.id]
		switch {
		case r.wrong != "":
			im.refused++
			l.What, l.Why = "refused", r.wrong
		case !known:
			im.unknown++
			l.What = "unknown"
		case site.status == r.to:
			im.same++
			continue
		default:
			if l.What, err = im.record(ctx, tx, site, r); err != nil {
				return nil, err
			}
			l.Ours, l.Business = string(site.status), site.public
			if l.What == "" {
				continue
			}
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func readOurSubscriptions(ctx context.Context, tx pgx.Tx, ids []string) (map[string]ourSubscription, error) {
	rows, err := tx.Query(ctx, `
		SELECT s.subscription_id, s.id, s.business_id, b.public_id::text, s.subscription_status
		FROM sites s
		JOIN businesses b ON b.id = s.business_id
		WHERE s.subscription_id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("read our subscriptions: %w", err)
	}
	ours := map[string]ourSubscription{}
	var id string
	var o ourSubscription
	_, err = pgx.ForEachRow(rows, []any{&id, &o.site, &o.business, &o.public, &o.status}, func() error {
		ours[id] = o
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read our subscriptions: %w", err)
	}
	return ours, nil
}

// record records what the provider says of a subscription. drift: ours changes; stale: what we know is younger, and
// stays; "": it was recorded by an earlier import.
func (im *subscriptionImport) record(ctx context.Context, tx pgx.Tx, site ourSubscription, r subscriptionRow) (string, error) {
	if im.action == 0 && !im.dry {
		action, err := recordActions(ctx, tx, "subscriptions.import", "file", []string{im.file}, im.reason, nil)
		if err != nil {
			return "", err
		}
		im.action = action
	}
	applied, err := pgstore.Apply(ctx, tx, []pgstore.Fact{{
		BusinessID: site.business, SiteID: site.site, Event: r.event, OccurredAt: r.at, Source: pgstore.SourceImport, ActionID: im.action,
		Key:  "sub:" + r.id + ":import:" + string(r.to) + ":" + r.at.UTC().Format(time.RFC3339Nano),
		Note: im.reason,
	}})
	if err != nil {
		return "", err
	}
	switch {
	case applied[0].Duplicate:
		im.stale++
		return "", nil
	case siteMoved(applied[0]):
		im.drift++
		return "drift", nil
	}
	im.stale++
	return "stale", nil
}

// siteMoved reports whether a fact changed its site's subscription.
func siteMoved(a pgstore.Applied) bool {
	for _, c := range a.Changes {
		if c.Axis == lifecycle.AxisSiteSubscription && c.From != c.To {
			return true
		}
	}
	return false
}

func (im *subscriptionImport) summary() string {
	did := "corrected"
	if im.dry {
		did = "would be corrected"
	}
	return fmt.Sprintf("%s the same, %s, %s known better from later events, %s, %s refused",
		plural(int64(im.same), "subscription"), fmt.Sprintf("%s %s", grouped(int64(im.drift)), did), grouped(int64(im.stale)),
		fmt.Sprintf("%s of no site", grouped(int64(im.unknown))), grouped(int64(im.refused)))
}
