DROP INDEX IF EXISTS inbound_messages_consent;
