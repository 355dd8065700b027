-- The inbox of replies: which were seen to, and by what.

ALTER TABLE inbound_messages
    ADD COLUMN handled_at timestamptz,
    ADD COLUMN handled_by text,
    ADD COLUMN answer_id  bigint REFERENCES messages;
COMMENT ON COLUMN inbound_messages.handled_at IS 'When somebody answered it or marked it as done; with all that the same business wrote before';
COMMENT ON COLUMN inbound_messages.handled_by IS 'Name of the token that did';
COMMENT ON COLUMN inbound_messages.answer_id IS 'Our message that answers it. While that is failed, undelivered or canceled the reply waits for an answer again';

-- Both hold only what an inbox shows: replies that wait, and answers by hand.
CREATE INDEX inbound_messages_open ON inbound_messages (id) WHERE action = 'reply' AND handled_at IS NULL;
CREATE INDEX inbound_messages_answers ON inbound_messages (answer_id) WHERE answer_id IS NOT NULL;
