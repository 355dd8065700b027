-- What contacts, messages and payments add up to, kept by a job (docs/analytics.md, docs/decisions/0011).

-- Charges that failed and money that was given back. Both are rare beside sends: they may cost a row more.
CREATE TABLE failed_charges (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    business_id     bigint      NOT NULL REFERENCES businesses,
    site_id         bigint      REFERENCES sites,
    charge_key      text        NOT NULL UNIQUE,
    receipt_id      uuid,
    failed_at       timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE failed_charges IS 'Charges that failed, one row an attempt of the provider''s however many webhooks reported it';
CREATE INDEX failed_charges_business ON failed_charges (business_id);

CREATE TABLE refunds (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id      bigint      NOT NULL REFERENCES payments,
    amount_in_cents bigint      NOT NULL CHECK (amount_in_cents > 0),
    refund_key      text        NOT NULL UNIQUE,
    receipt_id      uuid,
    refunded_at     timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE refunds IS 'Refunds, one row a refund however many webhooks reported it; payments.refunded_in_cents is their sum';
CREATE INDEX refunds_payment ON refunds (payment_id);

CREATE TABLE analytics_progress (
    one            boolean     PRIMARY KEY DEFAULT true CHECK (one),
    fact_id        bigint      NOT NULL DEFAULT 0,
    walked         bigint      DEFAULT 0,
    target_fact_id bigint,
    target_xid     xid8,
    target_at      timestamptz,
    as_of          timestamptz,
    reset_at       timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE analytics_progress IS 'One row: how far analytics have come. Whoever advances them holds its lock';
COMMENT ON COLUMN analytics_progress.fact_id IS 'Every fact up to this one is counted';
COMMENT ON COLUMN analytics_progress.walked IS 'Greatest businesses.id that a rebuild has counted; NULL: no rebuild is under way';
COMMENT ON COLUMN analytics_progress.target_fact_id IS 'The newest fact when the target was set: how far the next steps go';
COMMENT ON COLUMN analytics_progress.target_xid IS 'No fact up to the target is missing once every transaction before this one is over';
COMMENT ON COLUMN analytics_progress.as_of IS 'Everything that was committed before is counted; NULL until a rebuild is complete';
COMMENT ON COLUMN analytics_progress.reset_at IS 'When the last rebuild began';
INSERT INTO analytics_progress DEFAULT VALUES;

CREATE TABLE analytics_changed (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    business_id bigint NOT NULL
);
COMMENT ON TABLE analytics_changed IS 'Businesses to be counted anew although no fact says so: a payment, a refund, a failed charge, a price, another country, an erasure. Rows live for seconds';

CREATE TABLE analytics_businesses (
    business_id  bigint   PRIMARY KEY,
    contacted_at timestamptz,
    channel      text,
    campaign_id  bigint   NOT NULL DEFAULT 0,
    country      text     NOT NULL DEFAULT '',
    furthest     smallint NOT NULL DEFAULT 0,
    touches      text,
    customer     boolean  NOT NULL DEFAULT false
) WITH (fillfactor = 80);
COMMENT ON TABLE analytics_businesses IS 'What each business contributes to the sums of analytics: counting it anew takes this out and puts in what holds now';
COMMENT ON COLUMN analytics_businesses.furthest IS 'Stage of the funnel: 1 contacted … 7 active; 0: never contacted';
COMMENT ON COLUMN analytics_businesses.touches IS 'JSON, of each campaign that wrote to it: [campaign, marks, cost, currency]';

CREATE TABLE analytics_funnel (
    at          timestamptz NOT NULL,
    channel     text        NOT NULL,
    campaign_id bigint      NOT NULL,
    country     text        NOT NULL,
    contacted   int         NOT NULL,
    delivered   int         NOT NULL,
    opened      int         NOT NULL,
    clicked     int         NOT NULL,
    replied     int         NOT NULL,
    purchased   int         NOT NULL,
    active      int         NOT NULL,
    PRIMARY KEY (at, channel, campaign_id, country)
) WITH (fillfactor = 70);
COMMENT ON TABLE analytics_funnel IS 'Businesses by the quarter of an hour, channel, campaign and country of their first contact: how many reached each stage, or a later one';
COMMENT ON COLUMN analytics_funnel.at IS 'A quarter of an hour: every time zone''s weeks and days begin with one';

CREATE TABLE analytics_campaigns (
    campaign_id bigint PRIMARY KEY,
    sent        bigint NOT NULL,
    delivered   bigint NOT NULL,
    opened      bigint NOT NULL,
    clicked     bigint NOT NULL,
    replied     bigint NOT NULL,
    opted_out   bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE analytics_campaigns IS 'What came of each campaign''s messages';

CREATE TABLE analytics_costs (
    campaign_id bigint  NOT NULL,
    currency    text    NOT NULL,
    amount      numeric NOT NULL,
    PRIMARY KEY (campaign_id, currency)
) WITH (fillfactor = 50);
COMMENT ON TABLE analytics_costs IS 'What each campaign''s messages cost, by currency';

CREATE TABLE analytics_credits (
    business_id       bigint      NOT NULL,
    payment_id        bigint      NOT NULL,
    model             text        NOT NULL CHECK (model IN ('all', 'last', 'first')),
    from_days         int         NOT NULL,
    until_days        int         NOT NULL,
    campaign_id       bigint      NOT NULL DEFAULT 0,
    channel           text        NOT NULL DEFAULT '',
    at                timestamptz NOT NULL,
    currency          text        NOT NULL DEFAULT '',
    amount_in_cents   bigint      NOT NULL DEFAULT 0,
    refunded_in_cents bigint      NOT NULL DEFAULT 0,
    touched_days      int,
    PRIMARY KEY (business_id, payment_id, model, from_days)
);
COMMENT ON TABLE analytics_credits IS 'Which campaign a payment, or the first purchase of a business (payment_id 0), is credited to, for every window at once';
COMMENT ON COLUMN analytics_credits.model IS 'last or first touch; all: the payment itself, whoever is credited';
COMMENT ON COLUMN analytics_credits.from_days IS 'It holds for windows of at least so many days, and of less than until_days';
COMMENT ON COLUMN analytics_credits.touched_days IS 'Of a payment itself: the shortest window in which some campaign is credited; NULL: none';
CREATE INDEX analytics_credits_at ON analytics_credits (model, at)
    INCLUDE (currency, amount_in_cents, refunded_in_cents, touched_days, from_days, until_days, campaign_id, channel) WHERE payment_id <> 0;

CREATE TABLE analytics_credit_sums (
    purchase          boolean NOT NULL,
    day               date    NOT NULL,
    model             text    NOT NULL,
    campaign_id       bigint  NOT NULL,
    channel           text    NOT NULL,
    currency          text    NOT NULL,
    days              int     NOT NULL,
    n                 int     NOT NULL,
    amount_in_cents   bigint  NOT NULL,
    refunded_in_cents bigint  NOT NULL,
    PRIMARY KEY (purchase, day, model, campaign_id, channel, currency, days)
) WITH (fillfactor = 70);
COMMENT ON TABLE analytics_credit_sums IS 'analytics_credits added up by the day (UTC) of the payment; first purchases over all days, on the day 1970-01-01';
COMMENT ON COLUMN analytics_credit_sums.days IS 'What holds for a window is the sum over all days up to it: a credit is put in at its from_days and taken out at its until_days';

CREATE TABLE analytics_customers (
    business_id    bigint      PRIMARY KEY,
    purchased_at   timestamptz NOT NULL,
    alive_at       timestamptz NOT NULL,
    past_due_at    timestamptz,
    paused_at      timestamptz,
    ticket_at      timestamptz,
    failed_at      timestamptz,
    failed_charges int         NOT NULL DEFAULT 0
) WITH (fillfactor = 80);
COMMENT ON TABLE analytics_customers IS 'Businesses that bought, whose subscription is not cancelled and that were not erased: since when something is wrong';
COMMENT ON COLUMN analytics_customers.alive_at IS 'When they last did something themselves: bought first, replied, clicked, opened a mail, opened a ticket';
COMMENT ON COLUMN analytics_customers.failed_at IS 'The first of the charges that failed since the last that succeeded';

CREATE FUNCTION onward_analytics_changed() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'businesses' THEN
        INSERT INTO analytics_changed (business_id) VALUES (NEW.id);
    ELSE
        INSERT INTO analytics_changed (business_id) VALUES (NEW.business_id);
    END IF;
    RETURN NULL;
END
$$;
-- None of these is on the path of sends and callbacks: the statement that writes statuses names neither column.
CREATE TRIGGER businesses_analytics AFTER UPDATE OF country, erased_at, test ON businesses
    FOR EACH ROW WHEN (OLD.country IS DISTINCT FROM NEW.country OR OLD.erased_at IS DISTINCT FROM NEW.erased_at OR OLD.test IS DISTINCT FROM NEW.test)
    EXECUTE FUNCTION onward_analytics_changed();
CREATE TRIGGER payments_analytics AFTER INSERT OR UPDATE ON payments
    FOR EACH ROW EXECUTE FUNCTION onward_analytics_changed();
CREATE TRIGGER failed_charges_analytics AFTER INSERT ON failed_charges
    FOR EACH ROW EXECUTE FUNCTION onward_analytics_changed();
