package webhook

import (
	"cmp"
	"net/http"

	"onward/jobs"
	"onward/web/inbox"
	"onward/web/plainhttp"
)

// kindUnknown is the kind of an event that names none.
const kindUnknown = "unknown"

// recurrenteEvent receives what becomes of payments and subscriptions.
func (h *Webhooks) recurrenteEvent() endpoint {
	return endpoint{
		provider: jobs.ProviderRecurrente,
		unsigned: http.StatusUnauthorized,
		read: func(r *plainhttp.Request) (inbox.Receipt, int, error) {
			id, secret, err := h.recurrente.Verify(r.Header, r.Body)
			if err != nil {
				return inbox.Receipt{}, secret, err
			}
			event, err := parseObject(r.Body)
			if err != nil {
				return inbox.Receipt{}, secret, err
			}

			// Some events wrap everything but their name in data. A charge's type is "payment", whatever became of it, so it
			// comes last.
			data := event.object("data")
			receipt := inbox.Receipt{
				Kind:      cmp.Or(event.text("event_type"), data.text("event_type"), event.text("type"), kindUnknown),
				DedupeKey: "rc:" + id,
			}
			email := cmp.Or(
				event.text("customer_email"), event.object("customer").text("email"),
				data.text("customer_email"), data.object("customer").text("email"),
			)
			if address, ok := emailAddress(email); ok {
				receipt.ContactKey = jobs.ChannelEmail + ":" + address
			}
			return receipt, secret, nil
		},
		accepted: plainhttp.Answer{Status: http.StatusOK},
	}
}
