-- What sending one text writes around the provider's call, in two transactions: the decision, committed before the call,
-- and the outcome. Each client has rows of its own: the n-th of all, counted from 1.
\set i :i + 1
\set n :i * :clients + :client_id + 1
BEGIN;
SELECT m.public_id, m.campaign_id AS campaign, m.business_id AS business, m.address, m.body, c.status, b.opted_out, b.timezone,
    onward_suppressed(m.channel, m.address) AS suppressed
FROM messages m
JOIN businesses b ON b.id = m.business_id
JOIN campaigns c ON c.id = m.campaign_id
WHERE m.id = :n::bigint
FOR NO KEY UPDATE OF m \gset
UPDATE messages
SET state = 'dispatching', attempt = 1, dispatched_at = clock_timestamp(), updated_at = now()
WHERE id = :n::bigint;
INSERT INTO dispatches (message_id, channel, address, attempt, dispatched_at)
VALUES (:n::bigint, 'sms', :address::text, 1, now());
INSERT INTO campaign_counters AS c (campaign_id, shard, state, n)
VALUES (:campaign::bigint, :n::bigint % 16, 'dispatching', 1), (:campaign::bigint, :n::bigint % 16, 'queued', -1)
ON CONFLICT (campaign_id, shard, state) DO UPDATE SET n = c.n + EXCLUDED.n;
COMMIT;
BEGIN;
UPDATE messages
SET state = 'accepted', provider_sid = 'SM' || md5(:n::bigint::text), segments = 1, sent_at = dispatched_at, updated_at = now()
WHERE id = :n::bigint;
DELETE FROM dispatches
WHERE message_id = :n::bigint;
INSERT INTO facts (business_id, event, axis, occurred_at, source, message_id, job_id, dedupe_key)
VALUES (:business::bigint, 'sms_sent', 'contact', now(), 'message', :n::bigint, :n::bigint, 'm' || :n::bigint::text || ':' || 'sent')
ON CONFLICT (dedupe_key) DO NOTHING
RETURNING id AS fact \gset
UPDATE businesses
SET contact_status = 'sms_sent', reached = 'sms_sent', bounced = false, folded_at = now(),
    folded_key = 'm' || :n::bigint::text || ':' || 'sent', updated_at = now()
WHERE id = :business::bigint;
INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict)
VALUES (:fact::bigint, :business::bigint, 'contact', 'pending', 'sms_sent', 'applied');
UPDATE river_job
SET state = 'completed', attempt = 1, attempted_at = now(), finalized_at = clock_timestamp()
WHERE id = :n::bigint;
INSERT INTO campaign_counters AS c (campaign_id, shard, state, n)
VALUES (:campaign::bigint, :n::bigint % 16, 'accepted', 1), (:campaign::bigint, :n::bigint % 16, 'dispatching', -1)
ON CONFLICT (campaign_id, shard, state) DO UPDATE SET n = c.n + EXCLUDED.n;
COMMIT;
