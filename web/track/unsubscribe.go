package track

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"onward/jobs"
	"onward/jobs/tracktoken"
	"onward/web/inbox"
)

const (
	// maxBody is far more than the form of RFC 8058 (26 bytes, or a few hundred as multipart) and ours.
	maxBody = 16 << 10

	// unsubscribeTimeout is beyond the inbox's own: 4 s in its queue, 10 s to commit, 3.2 s for a provider
	// call that is about to start.
	unsubscribeTimeout = 18 * time.Second

	// retryAfter, in seconds, is longer than the inbox needs to work off a full queue.
	retryAfter = "5"

	// repeatWindow, in seconds: a second POST for the same message within it (a double click, a mail reader's
	// hasty retry) is a duplicate. It must not be for ever: who was reopened by an operator and unsubscribes
	// again by the same link must be heard again.
	repeatWindow = 10
)

// How an unsubscribe was asked for.
const (
	viaOneClick = "one_click" // the mail reader's own button: RFC 8058
	viaPage     = "page"      // the button on our page
)

// optOut is the body of a receipt of an unsubscribe.
type optOut struct {
	MessageID  string    `json:"message_id"`
	Channel    string    `json:"channel"`
	Address    string    `json:"address"`
	Via        string    `json:"via"`
	UserAgent  string    `json:"user_agent"`
	ReceivedAt time.Time `json:"received_at"`
}

// askUnsubscribe shows the page with the button. It changes nothing, since scanners follow links.
func (t *Track) askUnsubscribe(w http.ResponseWriter, r *http.Request) {
	claims, err := t.claims(r, tracktoken.PurposeUnsubscribe)
	if err != nil {
		t.unknownUnsubscribe(w)
		return
	}
	t.opts.Observe(jobs.KindUnsubscribe, ResultShown)
	t.pages.show(w, http.StatusOK, pageAsk, mask(claims.Channel, claims.Address))
}

// unsubscribe takes the mail reader's POST (RFC 8058) and our page's alike. It asks for no cookie and for
// nothing in the body: the token says whom and the method that it is meant. 200 is a promise, so it is
// answered when the receipt is committed and no send can overtake it, and not before.
func (t *Track) unsubscribe(w http.ResponseWriter, r *http.Request) {
	received := t.opts.Clock()
	claims, err := t.claims(r, tracktoken.PurposeUnsubscribe)
	if err != nil {
		t.unknownUnsubscribe(w)
		return
	}
	masked := mask(claims.Channel, claims.Address)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		t.opts.Observe(jobs.KindUnsubscribe, ResultTooLarge)
		t.pages.show(w, http.StatusRequestEntityTooLarge, pageAsk, masked)
		return
	} // a body that broke off says as much as one that did not

	result, err := t.accept(r, claims, via(body), received)
	if err != nil {
		t.refused(r.Context(), jobs.KindUnsubscribe, claims.MessageID, err)
		w.Header().Set("Retry-After", retryAfter)
		t.pages.show(w, http.StatusServiceUnavailable, pageBusy, masked)
		return
	}
	t.accepted(jobs.KindUnsubscribe, result)
	t.pages.show(w, http.StatusOK, pageDone, masked)
}

func (t *Track) accept(r *http.Request, claims tracktoken.Claims, via string, received time.Time) (inbox.Result, error) {
	window := strconv.FormatInt(received.Unix()/repeatWindow, 10)
	receipt, err := newReceipt(r, jobs.KindUnsubscribe, claims, "tk:u:"+claims.MessageID+":"+window, received, optOut{
		MessageID: claims.MessageID, Channel: claims.Channel, Address: claims.Address, Via: via,
		UserAgent: userAgent(r), ReceivedAt: received.UTC(),
	})
	if err != nil {
		return 0, err
	}
	receipt.Hold = &inbox.Hold{Channel: claims.Channel, Address: claims.Address}
	ctx, cancel := patience(r, unsubscribeTimeout)
	defer cancel()
	_, result, err := t.opts.Inbox.Accept(ctx, receipt)
	return result, err
}

func (t *Track) unknownUnsubscribe(w http.ResponseWriter) {
	t.opts.Observe(jobs.KindUnsubscribe, ResultInvalidToken)
	t.pages.show(w, http.StatusNotFound, pageNotFound, "")
}

// via reads which button was pressed; anything but our page's form is the mail reader's.
func via(body []byte) string {
	form, err := url.ParseQuery(string(body))
	if err == nil && form.Get("via") == viaPage {
		return viaPage
	}
	return viaOneClick
}
