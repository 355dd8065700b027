package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/web/apitoken"
)

// Setting is one of the installation's settings as it stands. What is secret is only said to be set.
type Setting struct{ Name, Value, Description string }

// Provider is who posts webhooks, as this process is set up for it.
type Provider struct {
	Name       string // as in webhook_events.provider
	Configured bool
	Setting    string // which names its secrets
	Secrets    int    // how many are set: two rotate
	// Last is the position, from 0, of the secret that verified the last webhook that this process accepted; -1: none yet.
	Last int
}

func (c *Console) settingRoutes() []Route {
	return []Route{
		{http.MethodGet, "/settings", apitoken.Viewer, c.settings},
		{http.MethodGet, "/settings/senders", apitoken.Viewer, c.senders},
		{http.MethodPost, "/settings/senders/{id}", apitoken.Operator, c.updateSender},
		{http.MethodGet, "/settings/suppressions", apitoken.Viewer, c.suppressions},
		{http.MethodPost, "/settings/suppressions", apitoken.Operator, c.addSuppression},
		{http.MethodPost, "/settings/suppressions/lift", apitoken.Operator, c.liftSuppression},
		{http.MethodGet, "/settings/suppressions.csv", apitoken.Viewer, c.exportSuppressions},
		{http.MethodGet, "/settings/suppressions/import", apitoken.Operator, c.importForm},
		{http.MethodPost, "/settings/suppressions/import", apitoken.Operator, c.importSuppressions},
		{http.MethodGet, "/settings/tokens", apitoken.Admin, c.tokens},
		{http.MethodPost, "/settings/tokens", apitoken.Admin, c.createToken},
		{http.MethodPost, "/settings/tokens/{id}/revoke", apitoken.Admin, c.revokeToken},
		{http.MethodGet, "/settings/log", apitoken.Viewer, c.operatorLog},
	}
}

// providerRow is a provider with what the database knows of it.
type providerRow struct {
	Provider
	At   *time.Time // of its last receipt, among the newest
	Kind string
}

// Verified tells which secret verified last.
func (p providerRow) Verified() string {
	switch {
	case p.Last < 0:
		return "not known: nothing since this process began"
	case p.Secrets < 2:
		return "the only one"
	case p.Last == 0:
		return "the first of " + strconv.Itoa(p.Secrets)
	}
	return fmt.Sprintf("number %d of %d", p.Last+1, p.Secrets)
}

type processRow struct {
	Host, Version string
	PID           int
	Queues        []string
	Started, Seen time.Time
}

type settingsPage struct {
	Providers panel[[]providerRow]
	Processes panel[[]processRow]
	Settings  []Setting
	Version   string
	Schema    panel[string]
}

// receiptsLooked is how many of the newest receipts are looked through for the last of each provider.
const receiptsLooked = 20_000

func (c *Console) settings(v *visit) error {
	p := settingsPage{Settings: c.opts.Settings, Version: c.opts.Version}
	p.Providers = load(v, "providers", c.readProviders)
	p.Processes = load(v, "processes", readProcesses)
	p.Schema = load(v, "schema", func(ctx context.Context, tx pgx.Tx) (string, error) {
		var s string
		err := tx.QueryRow(ctx, `SELECT 'PostgreSQL ' || current_setting('server_version')`).Scan(&s)
		return s, err
	})
	return v.render("settings", "Settings", p)
}

func (c *Console) readProviders(ctx context.Context, tx pgx.Tx) ([]providerRow, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT ON (provider) provider, kind, received_at
		FROM (SELECT id, provider, kind, received_at FROM webhook_events ORDER BY id DESC LIMIT $1) e
		ORDER BY provider, id DESC`, receiptsLooked)
	if err != nil {
		return nil, err
	}
	type last struct {
		Provider, Kind string
		At             time.Time
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[last])
	if err != nil {
		return nil, err
	}
	var list []providerRow
	if c.opts.Providers != nil {
		for _, p := range c.opts.Providers() {
			row := providerRow{Provider: p}
			for _, l := range found {
				if l.Provider == p.Name {
					row.At, row.Kind = &l.At, l.Kind
				}
			}
			list = append(list, row)
		}
	}
	return list, nil
}

func readProcesses(ctx context.Context, tx pgx.Tx) ([]processRow, error) {
	rows, err := tx.Query(ctx, `
		SELECT host, version, pid, queues, started_at, seen_at
		FROM worker_processes
		ORDER BY seen_at DESC
		LIMIT 200`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (processRow, error) {
		var p processRow
		return p, row.Scan(&p.Host, &p.Version, &p.PID, &p.Queues, &p.Started, &p.Seen)
	})
}

type senderView struct {
	ID         int64     `json:"id"`
	Channel    string    `json:"channel"`
	Address    string    `json:"address"`
	PerSecond  float64   `json:"per_second"`
	Slowdown   float64   `json:"slowdown"`
	NextSlotAt time.Time `json:"next_slot_at"`
	BacklogAt  time.Time `json:"backlog_at"`
}

// Slowed reports whether the provider's answers hold it back.
func (s senderView) Slowed() bool { return s.Slowdown > 1.01 }

// Now is its pace at present.
func (s senderView) Now() string {
	return strconv.FormatFloat(s.PerSecond/max(s.Slowdown, 1), 'g', 3, 64)
}

// Waits is how long its line is.
func (s senderView) Waits() string {
	if left := time.Until(s.BacklogAt); left > time.Second {
		return duration(left)
	}
	return ""
}

func (c *Console) senders(v *visit) error {
	var page struct {
		Items []senderView `json:"items"`
	}
	if err := v.api(http.MethodGet, "/senders?limit=500", nil, &page); err != nil {
		return err
	}
	return v.render("senders", "Senders", page)
}

func (c *Console) updateSender(v *visit) error {
	pace, err := strconv.ParseFloat(strings.ReplaceAll(v.form("per_second"), ",", "."), 64)
	if err != nil {
		return field("per_second", "Write a number of messages a second.")
	}
	body := map[string]any{"per_second": pace, "reason": v.form("reason")}
	if err := v.api(http.MethodPatch, "/senders/"+url.PathEscape(v.param("id")), body, nil); err != nil {
		return inForm(err)
	}
	return v.done("/settings/senders", toneGood, "The pace is set, for all workers.")
}

type tokenView struct {
	ID         uuid.UUID  `json:"id"`
	Name       string     `json:"name"`
	Role       string     `json:"role"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	Token      string     `json:"token"`
}

type tokensPage struct {
	Made  *tokenView // with its secret: this once
	Items []tokenView
}

func (c *Console) tokens(v *visit) error { return c.showTokens(v, nil) }

func (c *Console) showTokens(v *visit, made *tokenView) error {
	p := tokensPage{Made: made}
	var page struct {
		Items []tokenView `json:"items"`
	}
	if err := v.api(http.MethodGet, "/tokens?limit=500", nil, &page); err != nil {
		return err
	}
	p.Items = page.Items
	return v.render("tokens", "Tokens", p)
}

// createToken answers with the page that shows the secret, instead of leading to it: it is kept nowhere.
func (c *Console) createToken(v *visit) error {
	var made tokenView
	err := v.api(http.MethodPost, "/tokens", map[string]any{"name": v.form("name"), "role": v.form("role")}, &made)
	if err != nil {
		return inForm(err)
	}
	return c.showTokens(v, &made)
}

func (c *Console) revokeToken(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	if v.form("reason") == "" {
		return field("reason", "Say why: the reason goes to the operators' log.")
	}
	if err := v.api(http.MethodDelete, "/tokens/"+id.String()+"?"+url.Values{"reason": {v.form("reason")}}.Encode(), nil, nil); err != nil {
		return inForm(err)
	}
	return v.done("/settings/tokens", toneGood, "Revoked.")
}

type actionView struct {
	ID         int64          `json:"id"`
	At         time.Time      `json:"at"`
	Actor      string         `json:"actor"`
	Action     string         `json:"action"`
	TargetType string         `json:"target_type"`
	TargetID   string         `json:"target_id"`
	Reason     string         `json:"reason"`
	Details    map[string]any `json:"details"`
}

// Link is where the console shows what it was done to.
func (a actionView) Link() string {
	switch a.TargetType {
	case "business":
		return "/businesses/" + url.PathEscape(a.TargetID)
	case "campaign":
		return "/campaigns/" + url.PathEscape(a.TargetID)
	case "message":
		return "/messages/" + url.PathEscape(a.TargetID)
	case "reply":
		return "/replies/" + url.PathEscape(a.TargetID)
	case "receipt":
		return "/webhooks/" + url.PathEscape(a.TargetID)
	case "bulk":
		return "/businesses/bulk/" + url.PathEscape(a.TargetID)
	}
	return ""
}

// Target is what it was done to, ids as people compare them.
func (a actionView) Target() string {
	if _, err := uuid.Parse(a.TargetID); err == nil {
		return short(a.TargetID)
	}
	return a.TargetID
}

// More are the details in words.
func (a actionView) More() string {
	var parts []string
	for _, k := range []string{"name", "role", "per_second", "was", "fields"} {
		if value, ok := a.Details[k]; ok {
			parts = append(parts, label(k)+" "+fmt.Sprint(value))
		}
	}
	return strings.Join(parts, ", ")
}

type logPage struct {
	Filter      url.Values
	Actions     []string
	Items       []actionView
	Next, First string
}

// logActions are the kinds of acts that the log can be narrowed to.
func logActions() []string {
	return []string{"business.", "event.", "campaign.", "message.", "reply.", "suppression.", "sender.", "token.", "jobs.", "queue.", "receipt.", "bulk.", "site.", "import."}
}

func (c *Console) operatorLog(v *visit) error {
	p := logPage{Filter: url.Values{}, Actions: logActions()}
	q := url.Values{"limit": {"50"}}
	for _, name := range []string{"actor", "action", "target_type", "target_id"} {
		if value := v.query(name); value != "" {
			p.Filter.Set(name, value)
			q.Set(name, value)
		}
	}
	if cursor := v.query("cursor"); cursor != "" {
		q.Set("cursor", cursor)
		p.First = v.With("cursor", "")
	}
	var page struct {
		Items      []actionView `json:"items"`
		NextCursor string       `json:"next_cursor"`
	}
	if err := v.api(http.MethodGet, "/operator-actions?"+q.Encode(), nil, &page); err != nil {
		return err
	}
	p.Items = page.Items
	if page.NextCursor != "" {
		p.Next = v.With("cursor", page.NextCursor)
	}
	return v.render("operator_log", "Operators' log", p)
}
