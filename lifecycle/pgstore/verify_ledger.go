package pgstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"onward/lifecycle"
)

// ledger is what is stored of one business beside what its facts fold to.
type ledger struct {
	id       int64
	public   uuid.UUID
	shown    lifecycle.Status // contact_status
	stored   lifecycle.State
	storedAt position

	folded   lifecycle.State
	foldedAt position
	ends     map[lifecycle.Axis]lifecycle.Status // where the transitions lead
	sites    []*siteLedger
	newer    bool // has a fact of an event that this version does not know
}

// siteLedger is the same of a site.
type siteLedger struct {
	id             int64
	public         uuid.UUID
	stored, folded lifecycle.SiteState
	ends           lifecycle.SiteState
}

// position is the newest fact folded; nil in both: none.
type position struct {
	at  *time.Time
	key *string
}

func (p position) none() bool { return p.at == nil || p.key == nil }

func (p position) equal(other position) bool {
	if p.none() || other.none() {
		return p.none() && other.none()
	}
	return p.at.Equal(*other.at) && *p.key == *other.key
}

func (p position) String() string {
	if p.none() {
		return "none"
	}
	return p.at.UTC().Format(time.RFC3339Nano) + " " + *p.key
}

// readLedgers reads businesses, ascending by id, and folds their facts. Locked ones stay as they are until the
// transaction ends: whoever applies a fact takes the same locks.
func readLedgers(ctx context.Context, q Querier, ids []int64, lock bool) ([]*ledger, error) {
	list, err := readStored(ctx, q, ids, lock)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]*ledger, len(list))
	for _, l := range list {
		byID[l.id] = l
	}
	sites, err := readStoredSites(ctx, q, ids, lock, byID)
	if err != nil {
		return nil, err
	}
	if err := foldFacts(ctx, q, ids, byID); err != nil {
		return nil, err
	}
	if err := followTransitions(ctx, q, ids, byID); err != nil {
		return nil, err
	}
	return list, foldSiteFacts(ctx, q, ids, sites)
}

func forUpdate(lock bool) string {
	if lock {
		return " FOR NO KEY UPDATE"
	}
	return ""
}

func readStored(ctx context.Context, q Querier, ids []int64, lock bool) ([]*ledger, error) {
	rows, err := q.Query(ctx, `
		SELECT id, public_id, contact_status, reached, bounced, purchased, opted_out,
			website_status, subscription_status, ticket_status, folded_at, folded_key
		FROM businesses
		WHERE id = ANY($1)
		ORDER BY id`+forUpdate(lock), ids)
	if err != nil {
		return nil, fmt.Errorf("read businesses: %w", err)
	}
	defer rows.Close()
	list := make([]*ledger, 0, len(ids))
	for rows.Next() {
		l := &ledger{folded: lifecycle.Initial(), ends: map[lifecycle.Axis]lifecycle.Status{}}
		s := &l.stored
		if err := rows.Scan(&l.id, &l.public, &l.shown, &s.Contact.Reached, &s.Contact.Bounced, &s.Contact.Purchased, &s.Contact.OptedOut,
			&s.Website, &s.Subscription, &s.Ticket, &l.storedAt.at, &l.storedAt.key); err != nil {
			return nil, fmt.Errorf("read businesses: %w", err)
		}
		list = append(list, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read businesses: %w", err)
	}
	return list, nil
}

func readStoredSites(ctx context.Context, q Querier, ids []int64, lock bool, byID map[int64]*ledger) (map[int64]*siteLedger, error) {
	rows, err := q.Query(ctx, `
		SELECT id, public_id, business_id, status, subscription_status
		FROM sites
		WHERE business_id = ANY($1)
		ORDER BY id`+forUpdate(lock), ids)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	defer rows.Close()
	sites := map[int64]*siteLedger{}
	for rows.Next() {
		var business int64
		s := &siteLedger{folded: lifecycle.InitialSite(), ends: lifecycle.InitialSite()}
		if err := rows.Scan(&s.id, &s.public, &business, &s.stored.Status, &s.stored.Subscription); err != nil {
			return nil, fmt.Errorf("read sites: %w", err)
		}
		if l := byID[business]; l != nil {
			l.sites = append(l.sites, s)
			sites[s.id] = s
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	return sites, nil
}

// foldFacts folds each business's facts: what lifecycle.Fold does, a fact at a time. They come in its order, so even a
// business with millions of them takes no memory.
func foldFacts(ctx context.Context, q Querier, ids []int64, byID map[int64]*ledger) error {
	rows, err := q.Query(ctx, `
		SELECT business_id, event, occurred_at, dedupe_key
		FROM facts
		WHERE business_id = ANY($1)
		ORDER BY business_id, occurred_at, dedupe_key`, ids)
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var business int64
		var event lifecycle.Event
		var at time.Time
		var key string
		if err := rows.Scan(&business, &event, &at, &key); err != nil {
			return fmt.Errorf("read facts: %w", err)
		}
		l := byID[business]
		if l == nil {
			continue
		}
		l.folded, _ = lifecycle.Transition(l.folded, event)
		l.foldedAt = position{&at, &key}
		l.newer = l.newer || !event.Known()
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	return nil
}

// followTransitions keeps, of each axis of a business, the last status that a transition led to.
func followTransitions(ctx context.Context, q Querier, ids []int64, byID map[int64]*ledger) error {
	rows, err := q.Query(ctx, `
		SELECT business_id, axis, to_status
		FROM transitions
		WHERE business_id = ANY($1)
		ORDER BY business_id, id`, ids)
	if err != nil {
		return fmt.Errorf("read transitions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var business int64
		var axis lifecycle.Axis
		var to lifecycle.Status
		if err := rows.Scan(&business, &axis, &to); err != nil {
			return fmt.Errorf("read transitions: %w", err)
		}
		if l := byID[business]; l != nil {
			l.ends[axis] = to
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read transitions: %w", err)
	}
	return nil
}

// foldSiteFacts folds the facts that name a site, whichever business they are about, and follows the transitions that
// they made on the site's axes: a transition names no site, but its fact does.
func foldSiteFacts(ctx context.Context, q Querier, owners []int64, sites map[int64]*siteLedger) error {
	if len(sites) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(sites))
	for id := range sites {
		ids = append(ids, id)
	}
	rows, err := q.Query(ctx, `
		SELECT site_id, business_id, event
		FROM facts
		WHERE site_id = ANY($1)
		ORDER BY site_id, occurred_at, dedupe_key`, ids)
	if err != nil {
		return fmt.Errorf("read facts of sites: %w", err)
	}
	defer rows.Close()
	about := map[int64]struct{}{}
	for _, id := range owners {
		about[id] = struct{}{}
	}
	for rows.Next() {
		var site, business int64
		var event lifecycle.Event
		if err := rows.Scan(&site, &business, &event); err != nil {
			return fmt.Errorf("read facts of sites: %w", err)
		}
		sites[site].folded, _ = lifecycle.TransitionSite(sites[site].folded, event)
		about[business] = struct{}{}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read facts of sites: %w", err)
	}
	businesses := make([]int64, 0, len(about))
	for id := range about {
		businesses = append(businesses, id)
	}
	return followSiteTransitions(ctx, q, businesses, ids, sites)
}

func followSiteTransitions(ctx context.Context, q Querier, businesses, ids []int64, sites map[int64]*siteLedger) error {
	rows, err := q.Query(ctx, `
		SELECT f.site_id, t.axis, t.to_status
		FROM transitions t
		JOIN facts f ON f.id = t.fact_id
		WHERE t.business_id = ANY($1) AND t.axis IN ('site', 'site_subscription') AND f.site_id = ANY($2)
		ORDER BY t.id`, businesses, ids)
	if err != nil {
		return fmt.Errorf("read transitions of sites: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var site int64
		var axis lifecycle.Axis
		var to lifecycle.Status
		if err := rows.Scan(&site, &axis, &to); err != nil {
			return fmt.Errorf("read transitions of sites: %w", err)
		}
		if axis == lifecycle.AxisSite {
			sites[site].ends.Status = to
		} else {
			sites[site].ends.Subscription = to
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read transitions of sites: %w", err)
	}
	return nil
}

// drifts lists what is stored and is not the fold. Transitions that lead elsewhere are drift of their own: a status
// that is right but that nothing in the trail explains.
func (l *ledger) drifts() []Drift {
	var list []Drift
	add := func(site uuid.UUID, axis lifecycle.Axis, field DriftField, stored, folded string) {
		if stored != folded {
			list = append(list, Drift{Business: l.public, Site: site, Axis: axis, Field: field, Stored: stored, Folded: folded})
		}
	}
	initial := lifecycle.Initial()
	for _, axis := range lifecycle.Axes() {
		shown, folded := l.stored.Status(axis), string(l.folded.Status(axis))
		if axis == lifecycle.AxisContact {
			shown = l.shown
		}
		add(uuid.Nil, axis, FieldStatus, string(shown), folded)
		end, any := l.ends[axis]
		if !any {
			end = initial.Status(axis)
		}
		add(uuid.Nil, axis, FieldTransitions, string(end), folded)
	}
	was, is := l.stored.Contact, l.folded.Contact
	add(uuid.Nil, lifecycle.AxisContact, FieldReached, string(was.Reached), string(is.Reached))
	add(uuid.Nil, lifecycle.AxisContact, FieldBounced, strconv.FormatBool(was.Bounced), strconv.FormatBool(is.Bounced))
	add(uuid.Nil, lifecycle.AxisContact, FieldPurchased, strconv.FormatBool(was.Purchased), strconv.FormatBool(is.Purchased))
	add(uuid.Nil, lifecycle.AxisContact, FieldOptedOut, strconv.FormatBool(was.OptedOut), strconv.FormatBool(is.OptedOut))
	if !l.storedAt.equal(l.foldedAt) {
		add(uuid.Nil, "", FieldPosition, l.storedAt.String(), l.foldedAt.String())
	}
	for _, s := range l.sites {
		add(s.public, lifecycle.AxisSite, FieldStatus, string(s.stored.Status), string(s.folded.Status))
		add(s.public, lifecycle.AxisSite, FieldTransitions, string(s.ends.Status), string(s.folded.Status))
		add(s.public, lifecycle.AxisSiteSubscription, FieldStatus, string(s.stored.Subscription), string(s.folded.Subscription))
		add(s.public, lifecycle.AxisSiteSubscription, FieldTransitions, string(s.ends.Subscription), string(s.folded.Subscription))
	}
	return list
}
