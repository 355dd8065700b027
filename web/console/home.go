package console

import (
	"context"
	"net/http"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

func (c *Console) homeRoutes() []Route {
	return []Route{
		{http.MethodGet, "/", apitoken.Viewer, c.home},
		{http.MethodGet, "/home/needs", apitoken.Viewer, c.homePart("needs", c.needs)},
		{http.MethodGet, "/home/pulse", apitoken.Viewer, c.homePart("pulse", c.pulse)},
		{http.MethodGet, "/home/latest", apitoken.Viewer, c.homePart("latest", c.latest)},
	}
}

// homePage is what needs somebody now, and then how things go.
type homePage struct{ Needs, Pulse, Latest any }

func (c *Console) home(v *visit) error {
	return v.render("home", "Home", homePage{Needs: c.needs(v), Pulse: c.pulse(v), Latest: c.latest(v)})
}

// homePart answers with one panel, which a page asks for again and again.
func (c *Console) homePart(name string, read func(*visit) any) func(*visit) error {
	return func(v *visit) error { return v.fragment("home", name, read(v)) }
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
