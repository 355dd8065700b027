package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// Skip says why somebody in an audience gets no message; "" is one who gets it.
type Skip string

// The reasons, in the order in which they are looked for.
const (
	SkipErased       Skip = "erased"
	SkipNoAddress    Skip = "no_address"
	SkipSuppressed   Skip = "suppressed"
	SkipUnsubscribed Skip = "unsubscribed"
	SkipUnrenderable Skip = "unrenderable" // the text came out empty, or too long for the channel
)

// Skips lists them, for those who show zeroes from the start.
func Skips() []Skip {
	return []Skip{SkipErased, SkipNoAddress, SkipSuppressed, SkipUnsubscribed, SkipUnrenderable}
}

// Counter is where campaign_counters holds how many were skipped for the reason.
func (s Skip) Counter() string { return skipCounter + string(s) }

// skipCounter tells the counters of skips from those of message states.
const skipCounter = "skipped_"

// Recipient is what a message is made from.
type Recipient struct {
	ID         int64 // of the business
	Name       string
	City       string
	Address    string
	SiteURL    string
	Timezone   string
	Country    string
	Erased     bool
	OptedOut   bool
	Suppressed bool
}

// Skip is why this recipient gets no message, as far as its text is not the reason.
func (r Recipient) Skip() Skip {
	switch {
	case r.Erased:
		return SkipErased
	case r.Address == "":
		return SkipNoAddress
	case r.Suppressed:
		return SkipSuppressed
	case r.OptedOut:
		return SkipUnsubscribed
	}
	return ""
}

// recipientColumns reads a [Recipient] from businesses b; $1 is the channel. The site is the newest. As long as no erased
// address is suppressed, which is looked for once, the plain one decides: onward_suppressed looks twice, for each.
const recipientColumns = `b.id, b.name, COALESCE(b.city, ''), a.address,
	COALESCE((SELECT url FROM sites t WHERE t.business_id = b.id ORDER BY t.id DESC LIMIT 1), ''),
	COALESCE(b.timezone, ''), COALESCE(b.country, ''), b.erased_at IS NOT NULL, b.opted_out,
	a.address <> '' AND CASE
		WHEN (SELECT EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = $1 AND s.address LIKE 'hmac:%' AND s.lifted_at IS NULL))
			THEN onward_suppressed($1, a.address)
		ELSE (SELECT true FROM suppressions s WHERE s.channel = $1 AND s.address = a.address AND s.lifted_at IS NULL LIMIT 1) IS TRUE
	END`

const recipientAddress = `CROSS JOIN LATERAL (
		SELECT CASE $1 WHEN 'sms' THEN COALESCE(b.phone, '') ELSE lower(COALESCE(b.email, '')) END AS address
	) a`

// NextRecipients reads the next of a campaign's frozen audience behind a business, those to be skipped included. It
// locks them as the messages that name them will: an erasure comes before it, or after these.
func NextRecipients(ctx context.Context, q Querier, campaignID int64, channel string, behind int64, limit int) ([]Recipient, error) {
	return recipients(ctx, q, `
		SELECT `+recipientColumns+`
		FROM (
			SELECT business_id
			FROM campaign_recipients
			WHERE campaign_id = $2 AND business_id > $3
			ORDER BY business_id
			LIMIT $4
		) n
		JOIN businesses b ON b.id = n.business_id
		`+recipientAddress+`
		ORDER BY b.id
		FOR KEY SHARE OF b`, channel, campaignID, behind, limit)
}

// RecipientByID reads one business as a recipient, and whether it is in an audience; [ErrNoBusiness] when there is none.
func RecipientByID(ctx context.Context, q Querier, channel string, id uuid.UUID, a Audience) (r Recipient, in bool, err error) {
	list, err := recipients(ctx, q, `
		SELECT `+recipientColumns+`
		FROM businesses b
		`+recipientAddress+`
		WHERE b.public_id = $2::text::uuid`, channel, id.String())
	if err != nil {
		return r, false, err
	}
	if len(list) == 0 {
		return r, false, fmt.Errorf("read recipient: %w", ErrNoBusiness)
	}
	args := []any{list[0].ID}
	where := a.Where("b", &args)
	err = q.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM businesses b WHERE b.id = $1 AND b.erased_at IS NULL AND `+where+`)`, args...).Scan(&in)
	if err != nil {
		return r, false, fmt.Errorf("look for a recipient in an audience: %w", err)
	}
	return list[0], in, nil
}

// SampleAudience reads some of those who are in an audience now: the ones with the lowest ids, which are as good as any.
func SampleAudience(ctx context.Context, q Querier, channel string, a Audience, limit int) ([]Recipient, error) {
	args := []any{channel, limit}
	where := a.Where("b", &args)
	return recipients(ctx, q, `
		SELECT `+recipientColumns+`
		FROM businesses b
		`+recipientAddress+`
		WHERE b.erased_at IS NULL AND `+where+`
		ORDER BY b.id
		LIMIT $2`, args...)
}

func recipients(ctx context.Context, q Querier, sql string, args ...any) ([]Recipient, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read recipients: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Recipient])
	if err != nil {
		return nil, fmt.Errorf("read recipients: %w", err)
	}
	return list, nil
}

// AudienceSize is how many are in an audience now, and how many of them would be skipped for what is known of the
// contact and its address. Suppressions that outlived an erasure are not looked for here: that costs more than a count
// may, and they show when the campaign is sent.
type AudienceSize struct {
	Recipients int64
	ByContact  map[lifecycle.Status]int64 // recipients by contact status, where there are any
	Skipped    map[Skip]int64
}

// SizeAudience counts an audience, in one pass.
func SizeAudience(ctx context.Context, q Querier, channel string, a Audience) (AudienceSize, error) {
	args := []any{channel}
	where := a.Where("b", &args)
	out := AudienceSize{ByContact: map[lifecycle.Status]int64{}, Skipped: map[Skip]int64{}}
	rows, err := q.Query(ctx, `
		SELECT b.contact_status, count(*),
			count(*) FILTER (WHERE a.address = ''),
			count(*) FILTER (WHERE s.address IS NOT NULL),
			count(*) FILTER (WHERE a.address <> '' AND s.address IS NULL AND b.opted_out)
		FROM businesses b
		`+recipientAddress+`
		LEFT JOIN suppressions s ON s.channel = $1 AND s.address = a.address AND s.lifted_at IS NULL
		WHERE b.erased_at IS NULL AND `+where+`
		GROUP BY b.contact_status`, args...)
	if err != nil {
		return out, fmt.Errorf("count an audience: %w", err)
	}
	var status lifecycle.Status
	var n, noAddress, suppressed, optedOut int64
	_, err = pgx.ForEachRow(rows, []any{&status, &n, &noAddress, &suppressed, &optedOut}, func() error {
		out.Recipients += n
		out.ByContact[status] = n
		out.Skipped[SkipNoAddress] += noAddress
		out.Skipped[SkipSuppressed] += suppressed
		out.Skipped[SkipUnsubscribed] += optedOut
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("count an audience: %w", err)
	}
	return out, nil
}

// MarkSkipped notes, of members of a campaign's audience, why they get no message.
func MarkSkipped(ctx context.Context, tx pgx.Tx, campaignID int64, businesses []int64, why []Skip) error {
	if len(businesses) == 0 {
		return nil
	}
	reasons := make([]string, len(why))
	for i, w := range why {
		reasons[i] = string(w)
	}
	_, err := tx.Exec(ctx, `
		UPDATE campaign_recipients r
		SET skipped = u.why
		FROM unnest($2::bigint[], $3::text[]) AS u (business_id, why)
		WHERE r.campaign_id = $1 AND r.business_id = u.business_id`, campaignID, businesses, reasons)
	if err != nil {
		return fmt.Errorf("note who is skipped in campaign %d: %w", campaignID, err)
	}
	return nil
}

// ErrOptedOut says that a contact has opted out.
var ErrOptedOut = errors.New("the contact has opted out")

// TestContact finds or makes the contact that test messages to an address belong to. It is one of its own, even where
// another contact has the address: a test moves nobody's statuses. It reports whether it was made: then receipts may be
// waiting for the address (see [RequeueMatching]).
func TestContact(ctx context.Context, tx pgx.Tx, a Address) (id int64, created bool, err error) {
	a = a.Normal()
	if err := LockMatchKeys(ctx, tx, []string{a.Channel + ":" + a.Address}); err != nil {
		return 0, false, err
	}
	column := "phone"
	if a.Channel == "email" {
		column = "email"
	}
	var optedOut bool
	err = tx.QueryRow(ctx, `
		SELECT id, opted_out
		FROM businesses
		WHERE test AND erased_at IS NULL AND `+column+` = $1
		ORDER BY id
		LIMIT 1`, a.Address).Scan(&id, &optedOut)
	if err == nil && optedOut {
		return id, false, ErrOptedOut
	}
	if err == nil {
		return id, false, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return 0, false, fmt.Errorf("find a test contact: %w", err)
	}
	public, err := uuid.NewV7()
	if err != nil {
		return 0, false, fmt.Errorf("make an id: %w", err)
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO businesses (public_id, name, category, test, `+column+`)
		VALUES ($1, 'Test recipient', 'test', true, $2)
		RETURNING id`, public, a.Address).Scan(&id)
	if err != nil {
		return 0, false, fmt.Errorf("make a test contact: %w", err)
	}
	return id, true, nil
}
