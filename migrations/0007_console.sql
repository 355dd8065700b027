-- The operators' console: who is logged in, and the filters that they keep.

CREATE TABLE console_sessions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    secret_hash   bytea       NOT NULL UNIQUE,
    previous_hash bytea,
    token_id      bigint      NOT NULL REFERENCES api_tokens,
    flash         jsonb,
    created_at    timestamptz NOT NULL DEFAULT now(),
    rotated_at    timestamptz NOT NULL DEFAULT now(),
    seen_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE console_sessions IS 'Browsers that are logged in, as SHA-256 of 256 random bits in their cookie; a session acts by its token and ends with it';
COMMENT ON COLUMN console_sessions.previous_hash IS 'The cookie before the last rotation: requests that were under way then still come with it, for a minute';
COMMENT ON COLUMN console_sessions.flash IS 'What the next page tells: what came of the last act';
COMMENT ON COLUMN console_sessions.seen_at IS 'When somebody last did something, to the minute; live updates do not count';
CREATE INDEX console_sessions_previous ON console_sessions (previous_hash) WHERE previous_hash IS NOT NULL;

CREATE TABLE console_views (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id   bigint      NOT NULL REFERENCES api_tokens,
    page       text        NOT NULL,
    name       text        NOT NULL,
    query      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (token_id, page, name)
);
COMMENT ON TABLE console_views IS 'Saved views: the filter of a list, as its address has it, under a name';
