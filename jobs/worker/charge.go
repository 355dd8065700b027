package worker

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// chargeEvent is what a delivery about a charge tells, and whom it is about.
type chargeEvent struct {
	recurrenteEvent
	key  string // the same in all deliveries of one charge
	site site
}

// readCharge reads a receipt about a charge. Where that comes to nothing, ok is false, and stop is what the receipt ends as.
func (a *applier) readCharge(ctx context.Context, tx pgx.Tx, r receipt) (c chargeEvent, stop result, ok bool, err error) {
	if c.recurrenteEvent, err = parseRecurrente(r.Body); err != nil {
		return c, failed("the body is not a Recurrente delivery"), false, nil
	}
	if a.RecurrenteLive && c.sandbox() {
		return c, ignored("sandbox delivery in live mode"), false, nil
	}
	if c.key = cleanKey(c.chargeKey()); c.key == "" {
		return c, failed("the charge has no id"), false, nil
	}
	var missing string
	if c.site, missing, err = findSite(ctx, tx, c.recurrenteEvent); err != nil {
		return c, result{}, false, err
	}
	if c.site.id == 0 {
		return c, unmatched(missing), false, nil
	}
	return c, result{}, true, nil
}
