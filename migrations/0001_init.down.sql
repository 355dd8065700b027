DROP TABLE IF EXISTS worker_processes, idempotency_keys, operator_actions, api_tokens, payments, senders, suppressions,
    transitions, facts, inbound_pending, receipt_outcomes, webhook_events, inbound_messages, dispatches, messages,
    campaign_counters, campaigns, sites, businesses CASCADE;
DROP FUNCTION IF EXISTS onward_ensure_partitions(timestamptz, timestamptz);
DROP FUNCTION IF EXISTS onward_guard_dispatch(), onward_lock_address(), onward_append_only();
DROP FUNCTION IF EXISTS onward_message_rank(text), onward_address_key(text, text), onward_uuid_floor(timestamptz);
