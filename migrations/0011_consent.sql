-- Which word of an address counts, the STOP or the START: asked for each of them.

CREATE INDEX inbound_messages_consent ON inbound_messages (channel, from_address, received_at) WHERE action IN ('opt_out', 'opt_in');
