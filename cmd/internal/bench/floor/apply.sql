-- What applying one delivered callback reads and writes: receipt, message, fact, business, transition, outcome, counters
-- of the campaign (last, since others wait for their rows), job. Each client has rows of its own: the n-th of all, counted from 1.
\set i :i + 1
\set n :i * :clients + :client_id + 1
\set high ((:base + :n) << 16) | 28672
\set low :n - 9223372036854775807 - 1
BEGIN;
SELECT provider, kind, query, body, dedupe_key, received_at
FROM webhook_events
WHERE id = encode(int8send(:high::bigint) || int8send(:low::bigint), 'hex')::uuid \gset
UPDATE messages
SET state = 'delivered', delivered_at = :received_at::timestamptz, updated_at = now()
WHERE provider_sid = 'SM' || md5(:n::bigint::text) AND state = 'sent'
RETURNING id AS message, business_id AS business, campaign_id AS campaign \gset
INSERT INTO facts (business_id, event, axis, occurred_at, source, receipt_id, message_id, job_id, dedupe_key)
VALUES (:business::bigint, 'sms_delivered', 'contact', :received_at::timestamptz, 'webhook',
    encode(int8send(:high::bigint) || int8send(:low::bigint), 'hex')::uuid, :message::bigint, :n::bigint,
    'm' || :message::text || ':' || 'delivered')
ON CONFLICT (dedupe_key) DO NOTHING
RETURNING id AS fact \gset
UPDATE businesses
SET contact_status = 'sms_sent', reached = 'sms_sent', bounced = false, folded_at = :received_at::timestamptz,
    folded_key = 'm' || :message::text || ':' || 'delivered', updated_at = now()
WHERE id = :business::bigint;
INSERT INTO transitions (fact_id, business_id, axis, from_status, to_status, verdict)
VALUES (:fact::bigint, :business::bigint, 'contact', 'sms_sent', 'sms_sent', 'no_change');
INSERT INTO receipt_outcomes (receipt_id, outcome)
VALUES (encode(int8send(:high::bigint) || int8send(:low::bigint), 'hex')::uuid, 'applied');
UPDATE river_job
SET state = 'completed', attempt = 1, attempted_at = now(), finalized_at = clock_timestamp()
WHERE id = :n::bigint;
INSERT INTO campaign_counters AS c (campaign_id, shard, state, n)
VALUES (:campaign::bigint, :message::bigint % 16, 'delivered', 1), (:campaign::bigint, :message::bigint % 16, 'sent', -1)
ON CONFLICT (campaign_id, shard, state) DO UPDATE SET n = c.n + EXCLUDED.n;
COMMIT;
