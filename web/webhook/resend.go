package webhook

import (
	"cmp"
	"net/http"

	"onward/jobs"
	"onward/web/inbox"
	"onward/web/plainhttp"
)

// kindComplained is Resend's name of a spam complaint, which is an opt-out.
const kindComplained = "email.complained"

// resendEvent receives what becomes of e-mail.
func (h *Webhooks) resendEvent() endpoint {
	return endpoint{
		provider: jobs.ProviderResend,
		unsigned: http.StatusUnauthorized,
		read: func(r *plainhttp.Request) (inbox.Receipt, int, error) {
			id, secret, err := h.resend.Verify(r.Header, r.Body)
			if err != nil {
				return inbox.Receipt{}, secret, err
			}
			event, err := parseObject(r.Body)
			if err != nil {
				return inbox.Receipt{}, secret, err
			}

			receipt := inbox.Receipt{Kind: cmp.Or(event.text("type"), kindUnknown), DedupeKey: "rs:" + id}
			// Our messages have one recipient each.
			if address, ok := emailAddress(event.object("data").firstText("to")); ok {
				receipt.ContactKey = jobs.ChannelEmail + ":" + address
				if receipt.Kind == kindComplained {
					receipt.Hold = &inbox.Hold{Channel: jobs.ChannelEmail, Address: address}
				}
			}
			return receipt, secret, nil
		},
		accepted: plainhttp.Answer{Status: http.StatusOK},
	}
}
