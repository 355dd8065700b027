package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"onward/jobs"
)

type suppressionView struct {
	Channel  string     `json:"channel"`
	Address  string     `json:"address"`
	Reason   string     `json:"reason"`
	Source   string     `json:"source"`
	Since    time.Time  `json:"since"`
	LiftedAt *time.Time `json:"lifted_at"`
	LiftedBy string     `json:"lifted_by"`
}

// Erased reports whether only a hash of the address is left.
func (s suppressionView) Erased() bool { return strings.HasPrefix(s.Address, "hmac:") }

type suppressionsPage struct {
	Channel, Address, State string
	Wrong                   string // with the address
	Items                   []suppressionView
	Next, First             string
}

func (c *Console) suppressions(v *visit) error {
	p := suppressionsPage{Channel: v.query("channel"), Address: v.query("address"), State: v.query("state")}
	q := url.Values{"limit": {"50"}}
	for name, value := range map[string]string{"channel": p.Channel, "address": p.Address, "state": p.State, "cursor": v.query("cursor")} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if p.Address != "" && p.Channel == "" {
		q.Set("channel", jobs.ChannelSMS)
		if strings.Contains(p.Address, "@") {
			q.Set("channel", jobs.ChannelEmail)
		}
	}
	if v.query("cursor") != "" {
		p.First = v.With("cursor", "")
	}
	var page struct {
		Items      []suppressionView `json:"items"`
		NextCursor string            `json:"next_cursor"`
	}
	err := v.api(http.MethodGet, "/suppressions?"+q.Encode(), nil, &page)
	if r, ok := errors.AsType[*refusal](err); ok && r.fields["address"] != "" {
		p.Wrong = "That " + r.fields["address"] + "." // of what is searched for, not of the page
	} else if err != nil {
		return err
	}
	p.Items = page.Items
	if page.NextCursor != "" {
		p.Next = v.With("cursor", page.NextCursor)
	}
	return v.render("suppressions", "Suppressions", p)
}

func (c *Console) addSuppression(v *visit) error {
	if v.form("reason") == "" {
		return field("reason", "Say why: the reason goes to the operators' log.")
	}
	body := map[string]any{"channel": v.form("channel"), "address": v.form("address"), "reason": v.form("reason")}
	if err := v.api(http.MethodPost, "/suppressions", body, nil); err != nil {
		return inForm(err)
	}
	return v.done("/settings/suppressions", toneGood, "Suppressed: no send to it starts any more.")
}

func (c *Console) liftSuppression(v *visit) error {
	if v.form("reason") == "" {
		return field("reason", "Say why it may be written to again: the reason goes to the operators' log.")
	}
	body := map[string]any{"channel": v.form("channel"), "address": v.form("address"), "reason": v.form("reason")}
	if err := v.api(http.MethodDelete, "/suppressions", body, nil); err != nil {
		return inForm(err)
	}
	return v.done(v.back("/settings/suppressions"), toneGood, "Lifted. An opt-out of the contact stands until it is reopened.")
}

// exportSuppressions leads to the API's export, which is asked for with the session's token, too.
func (c *Console) exportSuppressions(v *visit) error {
	http.Redirect(v.w, v.r, apiPrefix+"/suppressions.csv", http.StatusSeeOther)
	return nil
}
