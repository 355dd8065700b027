-- What accepting a callback writes: the receipt and, where it is new, its job.
-- A colon before a letter begins a variable, in strings, too.
\set r random(1, 9000000000000000000)
\set tail random(0, 4611686018427387903)
\set contact random(0, 999999999)
BEGIN;
INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
VALUES (
    -- A UUIDv7: 48 bits of time, the version, the variant, random bits.
    encode(int8send(((extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16) | 28672 | (:tail::bigint & 4095))
        || int8send((-9223372036854775808)::bigint | :tail::bigint), 'hex')::uuid,
    'twilio', 'message_status', :query::text, :headers::text::jsonb, convert_to(:body::text, 'UTF8'),
    'ts:' || 'SM' || md5(:r::bigint::text) || ':' || 'delivered', 'sms:+1' || (2000000000 + :contact::bigint)::text, clock_timestamp())
ON CONFLICT DO NOTHING
RETURNING id AS receipt \gset
INSERT INTO river_job (args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags)
VALUES (jsonb_build_object('receipt_id', :receipt::text), now(), 'status_callback', 25, '{}', 1, 'callbacks', now(), 'available', '{}');
COMMIT;
