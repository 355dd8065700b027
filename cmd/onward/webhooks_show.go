package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"onward/lifecycle/pgstore"
)

func runWebhooksShow(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("webhooks show", "[flags] ID",
		"Shows one receipt: the raw request with its signatures, what came of it, the facts that it led to and what these did,\n"+
			"and the jobs that applied it, for as long as the queue keeps them. The request is printed as it came: treat it as such.",
		"onward webhooks show 01997f3e-…", "onward webhooks show 01997f3e-… --json")
	asJSON := fs.Bool("json", false, "print as one JSON object; body_base64 where the body is not UTF-8")
	ids, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(ids) != 1 {
		return usagef("name one receipt, by its id")
	}
	id, err := uuid.Parse(ids[0])
	if err != nil {
		return usagef("%s is not the id of a receipt", ids[0])
	}
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	r, err := pgstore.ReadReceipt(ctx, pool, id)
	if err != nil {
		return err
	}
	if *asJSON {
		return printReceiptJSON(t.stdout, r)
	}
	printReceipt(t.stdout, r)
	return nil
}

func printReceiptJSON(w io.Writer, r pgstore.ReceiptDetail) error {
	out := struct {
		pgstore.ReceiptDetail
		Body       *string `json:"body"`
		BodyBase64 string  `json:"body_base64,omitempty"`
	}{ReceiptDetail: r}
	if utf8.Valid(r.Body) {
		text := string(r.Body)
		out.Body = &text
	} else {
		out.BodyBase64 = base64.StdEncoding.EncodeToString(r.Body)
	}
	return json.NewEncoder(w).Encode(out)
}

func printReceipt(w io.Writer, r pgstore.ReceiptDetail) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, visible(fmt.Sprintf(format, args...)))
	}
	line("receipt", "%s", r.ID)
	line("received", "%s", when(r.ReceivedAt))
	line("from", "%s, %s", r.Provider, r.Kind)
	line("key", "%s", r.DedupeKey)
	outcome := r.Outcome
	if r.ProcessedAt != nil {
		outcome += " at " + when(*r.ProcessedAt)
	}
	if r.Detail != "" {
		outcome += ": " + r.Detail
	}
	line("outcome", "%s", outcome)
	if r.MatchKey != "" {
		line("waits for", "%s", r.MatchKey)
	}
	if r.ErasedAt != nil {
		line("erased", "%s: the request was blanked with the contact that it spoke of", when(*r.ErasedAt))
	}
	printRequest(w, r)
	printFacts(w, r.Facts)
	fmt.Fprintf(w, "\nJobs%s\n", none(len(r.Jobs), "none that the queue still keeps"))
	for _, j := range r.Jobs {
		fmt.Fprintf(w, "  %d  %s  %s  attempt %d of %d  made %s\n", j.ID, j.Kind, j.State, j.Attempt, j.MaxAttempts, when(j.CreatedAt))
		if j.LastError != "" {
			fmt.Fprintf(w, "     last error: %s\n", visible(strings.Join(strings.Fields(j.LastError), " ")))
		}
	}
	if len(r.Actions) > 0 {
		fmt.Fprintf(w, "\nOperators\n")
	}
	for _, a := range r.Actions {
		fmt.Fprintf(w, "  %s  %s  %s  %s\n", when(a.At), a.Actor, a.Action, visible(a.Reason))
	}
}

func printRequest(w io.Writer, r pgstore.ReceiptDetail) {
	fmt.Fprintf(w, "\nRequest\n")
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		for _, value := range r.Headers[name] {
			fmt.Fprintf(w, "  %s: %s\n", name, visible(value))
		}
	}
	if r.Query != "" {
		fmt.Fprintf(w, "  ?%s\n", visible(r.Query))
	}
	fmt.Fprintln(w)
	switch {
	case len(r.Body) == 0:
		fmt.Fprintln(w, "  (no body)")
	case utf8.Valid(r.Body):
		fmt.Fprintf(w, "  %s\n", visible(strings.TrimRight(string(r.Body), "\n")))
	default:
		fmt.Fprintf(w, "  base64: %s\n", base64.StdEncoding.EncodeToString(r.Body))
	}
}

func printFacts(w io.Writer, facts []pgstore.ReceiptFact) {
	fmt.Fprintf(w, "\nFacts%s\n", none(len(facts), "none"))
	for _, f := range facts {
		fmt.Fprintf(w, "  %d  %s  business %s  occurred %s", f.ID, f.Event, f.BusinessID, when(f.OccurredAt))
		if f.MessageID != nil {
			fmt.Fprintf(w, "  message %s", *f.MessageID)
		}
		if f.JobID != 0 {
			fmt.Fprintf(w, "  job %d", f.JobID)
		}
		fmt.Fprintln(w)
		for _, x := range f.Transitions {
			fmt.Fprintf(w, "     %s: %s → %s (%s)\n", x.Axis, x.From, x.To, x.Verdict)
		}
	}
}

// none says, after a heading, that nothing follows.
func none(n int, what string) string {
	if n > 0 {
		return ""
	}
	return ": " + what
}
