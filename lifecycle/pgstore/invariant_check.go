package pgstore

// invariantCheck is the look for what breaks one invariant.
type invariantCheck struct {
	name  Invariant
	means string
	of    string
	// sql yields the ids, as text, in one statement: it sees one snapshot, and what a transaction writes together it sees
	// together. @since is the time before which it need not look.
	sql string
}

// invariantChecks are the invariants in the order in which an operator wants to see them: those that hurt people
// outside first.
func invariantChecks() []invariantCheck {
	return []invariantCheck{
		{
			name: SendAfterOptOut, of: "message",
			means: "a send was started while a suppression stood against its address",
			sql:   sendAfterOptOut,
		},
		{
			name: SentTwice, of: "message",
			means: "the provider reports more than one message for one of ours, and no operator had it sent again",
			sql:   sentTwice,
		},
		{
			name: DispatchMismatch, of: "message",
			means: "a message is dispatching, unknown or held without its row in dispatches, or has one and is none of these",
			sql:   dispatchMismatch,
		},
		{
			name: DispatchStuck, of: "message",
			means: "a message has been dispatching for more than five minutes: nobody recorded what came of its call",
			sql:   dispatchStuck,
		},
		{
			name: ReceiptLost, of: "receipt",
			means: "a receipt was accepted more than a minute ago and has neither a job nor an outcome",
			sql:   receiptLost,
		},
		{
			name: SuppressionConflict, of: "suppression",
			means: "two suppressions stand against one address: lifting one would leave the other",
			sql:   suppressionConflict,
		},
		{
			name: CounterMismatch, of: "campaign",
			means: "a campaign's counters are not the counts of its messages",
			sql:   counterMismatch,
		},
		{
			name: FactMalformed, of: "fact",
			means: "a fact's axis is not its event's, or its business or site does not exist",
			sql:   factMalformed,
		},
	}
}

// A suppression's since is the start of the transaction that made it, and a dispatch that this one had to wait for
// carries a later time though it came first: hence five seconds of grace. A lift's time errs on the other side, where
// it does no harm. The first branch goes from new suppressions to messages, the second from new messages to old
// suppressions, the third to those that outlived an erasure as a hash.
const sendAfterOptOut = `
	SELECT m.public_id::text AS id
	FROM suppressions s
	JOIN messages m ON m.channel = s.channel AND m.address = s.address
	WHERE s.since >= @since::timestamptz
		AND m.dispatched_at > s.since + interval '5 seconds' AND (s.lifted_at IS NULL OR m.dispatched_at < s.lifted_at)
	UNION
	SELECT m.public_id::text
	FROM suppressions s
	JOIN messages m ON m.channel = s.channel AND m.address = s.address
	WHERE s.since < @since AND m.public_id >= onward_uuid_floor(@since)
		AND m.dispatched_at > s.since + interval '5 seconds' AND (s.lifted_at IS NULL OR m.dispatched_at < s.lifted_at)
	UNION
	SELECT m.public_id::text
	FROM (SELECT * FROM suppressions WHERE address LIKE 'hmac:%') s
	JOIN messages m ON m.channel = s.channel AND onward_address_hash(m.channel, m.address) = s.address
	WHERE m.public_id >= onward_uuid_floor(@since)
		AND m.dispatched_at > s.since + interval '5 seconds' AND (s.lifted_at IS NULL OR m.dispatched_at < s.lifted_at)`

// A status callback carries our id in its query and the provider's in its body. One whose provider's id is not the
// one that we stored is about another message with our text. An operator who resolves a message as not sent takes that
// upon them; where unknown sends are resent by policy, this counts what the policy costs.
const sentTwice = `
	SELECT DISTINCT m.public_id::text AS id
	FROM (
		SELECT substring(query FROM '(?:^|&)m=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:&|$)')::uuid AS message,
			COALESCE(
				substring(encode(body, 'escape') FROM '(?:^|&)MessageSid=([A-Za-z0-9]+)'),
				substring(encode(body, 'escape') FROM '(?:^|&)SmsSid=([A-Za-z0-9]+)')) AS sid
		FROM webhook_events
		WHERE id >= onward_uuid_floor(@since::timestamptz) AND provider = 'twilio' AND kind = 'message_status'
	) w
	JOIN messages m ON m.public_id = w.message
	WHERE m.provider_sid <> w.sid
		AND NOT EXISTS (
			SELECT 1 FROM operator_actions a
			WHERE a.target_type = 'message' AND a.target_id = m.public_id::text AND a.action = 'message.resolve.not_sent'
		)`

const dispatchMismatch = `
	SELECT m.public_id::text AS id
	FROM dispatches d
	JOIN messages m ON m.id = d.message_id
	WHERE (m.state, d.state) NOT IN (('dispatching', 'calling'), ('unknown', 'unknown'), ('held', 'held'))
		OR m.attempt <> d.attempt
	UNION
	SELECT m.public_id::text
	FROM messages m
	WHERE m.state IN ('dispatching', 'unknown', 'held') AND m.public_id >= onward_uuid_floor(@since::timestamptz)
		AND NOT EXISTS (SELECT 1 FROM dispatches d WHERE d.message_id = m.id)`

const dispatchStuck = `
	SELECT m.public_id::text AS id
	FROM dispatches d
	JOIN messages m ON m.id = d.message_id
	WHERE m.state = 'dispatching' AND d.dispatched_at < now() - interval '5 minutes'`

// Receipts without an outcome are few: those under way. Only for them are the jobs looked at. A job that was cancelled
// or discarded still stands for its receipt, since an operator can put it back; one that completed and left no outcome
// does not.
const receiptLost = `
	WITH open AS MATERIALIZED (
		SELECT w.id
		FROM webhook_events w
		WHERE w.id >= onward_uuid_floor(@since::timestamptz) AND w.id < onward_uuid_floor(now() - interval '1 minute')
			AND NOT EXISTS (SELECT 1 FROM receipt_outcomes o WHERE o.receipt_id = w.id)
	)
	SELECT open.id::text AS id
	FROM open
	WHERE NOT EXISTS (
		SELECT 1 FROM river_job j
		WHERE j.state IN ('available', 'pending', 'running', 'scheduled', 'retryable', 'cancelled', 'discarded')
			AND j.args ->> 'receipt_id' = open.id::text
	)`

// The unique index keeps two of one spelling apart; mailboxes are compared without regard to case.
const suppressionConflict = `
	SELECT min(id)::text AS id
	FROM suppressions
	WHERE lifted_at IS NULL
	GROUP BY channel, CASE channel WHEN 'email' THEN lower(address) ELSE address END
	HAVING count(*) > 1`

const counterMismatch = `
	SELECT c.public_id::text AS id
	FROM campaigns c
	WHERE (c.status IN ('sending', 'paused') OR c.updated_at >= @since::timestamptz)
		AND EXISTS (
			SELECT 1
			FROM (
				SELECT state, sum(n) AS n
				FROM campaign_counters
				WHERE campaign_id = c.id AND state NOT LIKE 'skipped%'
				GROUP BY state
			) k
			FULL JOIN (
				SELECT state, count(*) AS n
				FROM messages
				WHERE campaign_id = c.id
				GROUP BY state
			) m USING (state)
			WHERE COALESCE(k.n, 0) <> COALESCE(m.n, 0)
		)`

const factMalformed = `
	SELECT f.id::text AS id
	FROM facts f
	LEFT JOIN unnest(@events::text[], @axes::text[]) AS e (event, axis) ON e.event = f.event
	LEFT JOIN businesses b ON b.id = f.business_id
	LEFT JOIN sites s ON s.id = f.site_id
	WHERE f.id > (SELECT COALESCE(max(id), 0) FROM facts) - @recent_facts::bigint
		AND (e.axis IS DISTINCT FROM f.axis OR b.id IS NULL OR (f.site_id IS NOT NULL AND s.id IS NULL))`
