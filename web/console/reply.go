package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"onward/jobs"
	"onward/web/apitoken"
)

func (c *Console) replyRoutes() []Route {
	return []Route{
		{http.MethodGet, "/replies", apitoken.Viewer, c.replies},
		{http.MethodGet, "/replies/list", apitoken.Viewer, c.replyList},
		{http.MethodGet, "/replies/{id}", apitoken.Viewer, c.conversation},
		{http.MethodGet, "/replies/{id}/talk", apitoken.Viewer, c.talk},
		{http.MethodPost, "/replies/{id}/answer", apitoken.Operator, c.answerReply},
		{http.MethodPost, "/replies/{id}/done", apitoken.Operator, c.markReply("done", "Done.")},
		{http.MethodPost, "/replies/{id}/reopen", apitoken.Operator, c.markReply("reopen", "It waits for an answer again.")},
		{http.MethodPost, "/replies/{id}/opt-out", apitoken.Operator, c.optOutReply},
	}
}

// replyView is what somebody wrote to us, as the API has it.
type replyView struct {
	ID            uuid.UUID  `json:"id"`
	BusinessID    *uuid.UUID `json:"business_id"`
	BusinessName  string     `json:"business_name"`
	ContactStatus string     `json:"contact_status"`
	Channel       string     `json:"channel"`
	From          string     `json:"from"`
	Body          string     `json:"body"`
	Media         []string   `json:"media"`
	Action        string     `json:"action"`
	ReceivedAt    time.Time  `json:"received_at"`
	ReceiptID     uuid.UUID  `json:"receipt_id"`
	Open          bool       `json:"open"`
	HandledAt     *time.Time `json:"handled_at"`
	HandledBy     string     `json:"handled_by"`
	AnswerID      *uuid.UUID `json:"answer_id"`
}

// Who is the business, or the address where nobody is known by it.
func (r replyView) Who() string {
	if r.BusinessName != "" {
		return r.BusinessName
	}
	return r.Address()
}

// Address is where it came from.
func (r replyView) Address() string {
	if r.Channel == jobs.ChannelSMS {
		return phone(r.From)
	}
	return r.From
}

type inboxPage struct {
	State       string
	Open        []replyView // what waits, first
	Rest        []replyView
	Next, First string
	Query       string
}

type replyList struct {
	Items      []replyView `json:"items"`
	NextCursor string      `json:"next_cursor"`
}

// inboxStates are the views of the inbox; "" is what waits, and beneath it the latest of the rest.
func inboxStates() []string { return []string{"", "open", "done", "opt_out", "all"} }

// readInbox reads what waits for an answer and then the rest, or what the filter says.
func (c *Console) readInbox(v *visit) (inboxPage, error) {
	p := inboxPage{State: v.query("state"), Query: v.r.URL.RawQuery}
	if !slices.Contains(inboxStates(), p.State) {
		return p, refuse(http.StatusUnprocessableEntity, "The inbox has no such filter.")
	}
	q := url.Values{"limit": {"25"}, "state": {cmp.Or(p.State, "open")}}
	if p.State == "opt_out" {
		q.Set("state", "all")
		q.Set("action", "opt_out")
	}
	here := url.Values{}
	if p.State != "" {
		here.Set("state", p.State)
	}
	if cursor := v.query("cursor"); cursor != "" {
		q.Set("cursor", cursor)
		p.First = "/replies?" + here.Encode()
	}
	var list replyList
	if err := v.api(http.MethodGet, "/replies?"+q.Encode(), nil, &list); err != nil {
		return p, err
	}
	if list.NextCursor != "" {
		here.Set("cursor", list.NextCursor)
		p.Next = "/replies?" + here.Encode()
	}
	if p.State == "" || p.State == "open" {
		p.Open = list.Items
	} else {
		p.Rest = list.Items
	}
	if p.State == "" && p.First == "" && p.Next == "" {
		var rest replyList
		if err := v.api(http.MethodGet, "/replies?limit=10&state=done", nil, &rest); err != nil {
			return p, err
		}
		p.Rest = rest.Items
	}
	return p, nil
}

func (c *Console) replies(v *visit) error {
	p, err := c.readInbox(v)
	if err != nil {
		return err
	}
	return v.render("replies", "Replies", p)
}

func (c *Console) replyList(v *visit) error {
	p, err := c.readInbox(v)
	if err != nil {
		return err
	}
	return v.fragment("replies", "list", p)
}

// utterance is one message of a conversation, theirs or ours.
type utterance struct {
	At     time.Time
	Theirs *replyView
	Ours   *campaignMessageText
}

// campaignMessageText is a message of ours with its text.
type campaignMessageText struct {
	ID         uuid.UUID  `json:"id"`
	CampaignID *uuid.UUID `json:"campaign_id"`
	Channel    string     `json:"channel"`
	Subject    string     `json:"subject"`
	Body       string     `json:"body"`
	State      string     `json:"state"`
	Reason     string     `json:"reason"`
	ErrorCode  string     `json:"error_code"`
	QueuedAt   time.Time  `json:"queued_at"`
	SentAt     *time.Time `json:"sent_at"`
}

type talkPage struct {
	Reply     replyView // the newest that waits, else the one of the address
	Talk      []utterance
	More      bool // there is more than is shown
	Key       string
	CanAnswer bool
	Why       string // why it can't be answered
	Example   string
}

// talkSize is how many messages of each side a conversation shows.
const talkSize = 50

func (c *Console) readTalk(v *visit) (talkPage, error) {
	p := talkPage{Key: uuid.NewString()}
	id, err := v.id("id")
	if err != nil {
		return p, err
	}
	if err := v.api(http.MethodGet, "/replies/"+id.String(), nil, &p.Reply); err != nil {
		return p, err
	}
	if p.Reply.BusinessID == nil {
		p.Talk = []utterance{{At: p.Reply.ReceivedAt, Theirs: &p.Reply}}
		p.Why = "Nobody is known by this address: make the business first. Its messages then come to it by themselves."
		return p, nil
	}
	business := url.Values{"business_id": {p.Reply.BusinessID.String()}, "limit": {fmt.Sprint(talkSize)}}
	var theirs replyList
	if err := v.api(http.MethodGet, "/replies?state=all&"+business.Encode(), nil, &theirs); err != nil {
		return p, err
	}
	var ours struct {
		Items      []campaignMessageText `json:"items"`
		NextCursor string                `json:"next_cursor"`
	}
	if err := v.api(http.MethodGet, "/messages?"+business.Encode(), nil, &ours); err != nil {
		return p, err
	}
	p.join(theirs, ours.Items)
	p.More = theirs.NextCursor != "" || ours.NextCursor != ""
	switch {
	case p.Reply.ContactStatus == "unsubscribed":
		p.Why = "They have opted out: nothing is sent to them before the contact is reopened."
	case p.Reply.Channel != jobs.ChannelSMS:
		p.Why = "It came by email: answer it from your mailbox."
	default:
		p.CanAnswer = true
	}
	return p, nil
}

// join puts both sides in order, oldest first.
func (p *talkPage) join(theirs replyList, ours []campaignMessageText) {
	for i := range theirs.Items {
		t := &theirs.Items[i]
		p.Talk = append(p.Talk, utterance{At: t.ReceivedAt, Theirs: t})
		if t.Open && !p.Reply.Open {
			p.Reply = *t
		}
	}
	for i := range ours {
		o := &ours[i]
		at := o.QueuedAt
		if o.SentAt != nil {
			at = *o.SentAt
		}
		p.Talk = append(p.Talk, utterance{At: at, Ours: o})
	}
	slices.SortStableFunc(p.Talk, func(a, b utterance) int { return a.At.Compare(b.At) })
}

func (c *Console) conversation(v *visit) error {
	p, err := c.readTalk(v)
	if err != nil {
		return err
	}
	return v.render("reply", p.Reply.Who(), p)
}

func (c *Console) talk(v *visit) error {
	p, err := c.readTalk(v)
	if err != nil {
		return err
	}
	return v.fragment("reply", "talk", p)
}

// answerReply sends a text: a message like any other, with all its guards.
func (c *Console) answerReply(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	var r replyView
	if err := v.api(http.MethodGet, "/replies/"+id.String(), nil, &r); err != nil {
		return err
	}
	if r.BusinessID == nil {
		return refuse(http.StatusConflict, "Nobody is known by this address.")
	}
	body := map[string]any{"business_id": r.BusinessID, "channel": jobs.ChannelSMS, "body": unixLines(v.form("body")), "in_reply_to": r.ID}
	var sent struct {
		SendsAt *time.Time `json:"sends_at"`
	}
	if err := v.apiOnce(v.form("key"), http.MethodPost, "/messages", body, &sent); err != nil {
		return inForm(err)
	}
	told, tone := "The answer goes out.", toneGood
	if sent.SendsAt == nil || sent.SendsAt.Sub(c.opts.Clock()) > time.Minute {
		told, tone = "The answer is queued: it waits for the end of the recipient's quiet hours.", toneWarn
	}
	return v.done("/replies/"+id.String(), tone, told)
}

func (c *Console) markReply(name, told string) func(*visit) error {
	return func(v *visit) error {
		id, err := v.id("id")
		if err != nil {
			return err
		}
		if err := v.api(http.MethodPost, "/replies/"+id.String()+"/"+name, map[string]any{"reason": v.form("reason")}, nil); err != nil {
			return err
		}
		return v.done(v.back("/replies"), toneGood, told)
	}
}

// evidence is how much of a text goes to the operators' log with an opt-out, in characters.
const evidence = 1500

// optOutReply opts out who wrote, with what was written as the reason.
func (c *Console) optOutReply(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	var r replyView
	if err := v.api(http.MethodGet, "/replies/"+id.String(), nil, &r); err != nil {
		return err
	}
	text := []rune(r.Body)
	note := fmt.Sprintf("wrote on %s: %s", r.ReceivedAt.UTC().Format("2 Jan 2006 15:04 UTC"), string(text[:min(len(text), evidence)]))
	if r.BusinessID != nil {
		err = v.api(http.MethodPost, "/crm/businesses/"+r.BusinessID.String()+"/events",
			map[string]any{"event": "opted_out", "note": note, "dedupe_key": "reply:" + r.ID.String()}, nil) // a second press adds nothing
	} else {
		err = v.api(http.MethodPost, "/suppressions", map[string]any{"channel": r.Channel, "address": r.From, "reason": note}, nil)
	}
	if err != nil {
		return err
	}
	// The address that it came from may be another than the business's of today.
	if r.BusinessID != nil {
		err = v.api(http.MethodPost, "/suppressions", map[string]any{"channel": r.Channel, "address": r.From, "reason": note}, nil)
		if err != nil {
			return err
		}
	}
	if err := v.api(http.MethodPost, "/replies/"+id.String()+"/done", map[string]any{"reason": "opted out"}, nil); err != nil {
		return err
	}
	return v.done(v.back("/replies"), toneGood, r.Who()+" is opted out: nothing is sent there any more.")
}
