package console

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

func (c *Console) homeRoutes() []Route {
	return []Route{
		{http.MethodGet, "/", apitoken.Viewer, c.home},
		{http.MethodGet, "/home/needs", apitoken.Viewer, c.homePart("needs", c.needs)},
		{http.MethodGet, "/home/pulse", apitoken.Viewer, c.homePart("pulse", c.pulse)},
		{http.MethodGet, "/home/funnel", apitoken.Viewer, c.homePart("funnel", c.funnel)},
		{http.MethodGet, "/home/latest", apitoken.Viewer, c.homePart("latest", c.latest)},
	}
}

// homePage is what needs somebody now, and then how things go.
type homePage struct{ Needs, Pulse, Funnel, Latest any }

func (c *Console) home(v *visit) error {
	return v.render("home", "Home", homePage{Needs: c.needs(v), Pulse: c.pulse(v), Funnel: c.funnel(v), Latest: c.latest(v)})
}

// homePart answers with one panel, which a page asks for again and again.
func (c *Console) homePart(name string, read func(*visit) any) func(*visit) error {
	return func(v *visit) error { return v.fragment("home", name, read(v)) }
}

// funnelPage is how far those came who were first contacted within the last seven days.
type funnelPage struct {
	AsOf   *time.Time `json:"as_of"`
	Stages []struct {
		Stage        string   `json:"stage"`
		Businesses   int64    `json:"businesses"`
		FromPrevious *float64 `json:"from_previous"`
		FromFirst    *float64 `json:"from_first"`
	} `json:"total"`
}

// First is how many were contacted: the whole of the bars.
func (p funnelPage) First() int64 {
	if len(p.Stages) == 0 {
		return 0
	}
	return p.Stages[0].Businesses
}

func (c *Console) funnel(v *visit) any {
	var p panel[funnelPage]
	q := url.Values{"by": {"channel"}, "after": {c.opts.Clock().UTC().Add(-7 * 24 * time.Hour).Truncate(15 * time.Minute).Format(time.RFC3339)}}
	if err := v.api(http.MethodGet, "/analytics/funnel?"+q.Encode(), nil, &p.Data); err != nil {
		r, expected := asRefusal(v.ctx(), err)
		p.Error = r.text
		if !expected {
			c.opts.Logger.LogAttrs(v.ctx(), slog.LevelError, "console", slog.String("panel", "funnel"), slog.Any("error", err))
		}
	}
	return p
}

// latestPage is what moves: campaigns that are being sent, and the last changes of statuses.
type latestPage struct {
	Sending []sendingCampaign
	Changes []pgstore.LatestChange
}

type sendingCampaign struct {
	ID, Name, Channel string
	Recipients, Done  int64
	Waiting           int64
}

func (c *Console) latest(v *visit) any {
	return load(v, "latest", func(ctx context.Context, tx pgx.Tx) (latestPage, error) {
		var p latestPage
		rows, err := tx.Query(ctx, `
			SELECT c.public_id::text, c.name, c.channel, c.recipients, COALESCE(n.all_of_them, 0)::bigint, COALESCE(n.waiting, 0)::bigint
			FROM campaigns c
			LEFT JOIN LATERAL (
				SELECT sum(k.n) AS all_of_them, sum(k.n) FILTER (WHERE k.state IN ('queued', 'dispatching', 'unknown', 'held')) AS waiting
				FROM campaign_counters k
				WHERE k.campaign_id = c.id
			) n ON true
			WHERE c.status = 'sending'
			ORDER BY c.id DESC
			LIMIT 5`)
		if err != nil {
			return p, err
		}
		p.Sending, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (sendingCampaign, error) {
			var s sendingCampaign
			var counted int64
			err := row.Scan(&s.ID, &s.Name, &s.Channel, &s.Recipients, &counted, &s.Waiting)
			s.Done = counted - s.Waiting
			s.Recipients = max(s.Recipients, counted)
			return s, err
		})
		if err != nil {
			return p, err
		}
		p.Changes, err = pgstore.LatestChanges(ctx, tx, 12)
		return p, err
	})
}

// to is the address of a list with a filter where that page is part of this console, and else another that shows it.
func (c *Console) to(path, query, otherwise string) string {
	if c.hasPage(path) {
		if query != "" {
			return path + "?" + query
		}
		return path
	}
	return otherwise
}
