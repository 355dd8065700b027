package providersim

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"
)

// maxBody is how long a text may be (Twilio's error 21617).
const maxBody = 1600

// maxForm bounds a request; 1600 characters, percent-encoded, are below 20 KB.
const maxForm = 64 << 10

func (s *Sim) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2010-04-01/Accounts/{account}/Messages.json", s.authorised(s.createMessage))
	mux.HandleFunc("GET /2010-04-01/Accounts/{account}/Messages.json", s.authorised(s.listMessages))
	mux.HandleFunc("GET /2010-04-01/Accounts/{account}/Messages/{file}", s.authorised(s.fetchMessage))
	mux.HandleFunc("/2010-04-01/", func(w http.ResponseWriter, _ *http.Request) { writeError(w, 404, 20404) })
	s.controlRoutes(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handling.RLock()
		defer s.handling.RUnlock()
		mux.ServeHTTP(w, r)
	})
}

// authorised checks what Twilio checks of every request.
func (s *Sim) authorised(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user != s.opts.AccountSID || password != s.opts.AuthToken:
			w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
			writeError(w, 401, 20003)
		case r.PathValue("account") != s.opts.AccountSID:
			writeError(w, 404, 20404)
		default:
			next(w, r)
		}
	}
}

func (s *Sim) createMessage(w http.ResponseWriter, r *http.Request) {
	form, ok := readForm(w, r)
	if !ok {
		return
	}
	call := &Call{
		To: form.Get("To"), From: form.Get("From"), MessagingServiceSID: form.Get("MessagingServiceSid"),
		Body: form.Get("Body"), StatusCallback: form.Get("StatusCallback"), Begin: s.opts.Now(),
	}
	n := s.ordinal("to " + call.To)
	f := s.decide(call, n)
	var created *message
	if f.out {
		created = s.newMessage(call, n)
		call.SID = created.sid
	}
	call.Outcome, call.Code = f.outcome, f.code
	s.change(func() {
		s.counts["calls"]++
		call.Seq = s.counts["calls"]
		s.calls = keep(s, s.calls, call)
	})
	var answer []byte
	if created != nil {
		answer = s.resource(created)
		s.live(created, f.life, n)
	}
	latency := between(s.draws("latency", call.To, call.Body, n), s.opts.LatencyMin, s.opts.LatencyMax)
	if f.outcome == OutcomeHung {
		latency = math.MaxInt64
	}
	if !s.pause(r, latency) {
		f.outcome = OutcomeHung
	}
	s.change(func() { call.End, call.Outcome = s.opts.Now(), f.outcome })
	s.answer(w, f, answer)
}

// decide is what the API does with a call: first what Twilio checks, in about
// its order, then magic, then chance.
func (s *Sim) decide(call *Call, n string) fate {
	sender := s.senderOf(call)
	if !s.withinPace(sender) {
		return fate{outcome: OutcomeRateLimited, status: 429, code: 20429}
	}
	if code := s.invalid(call); code != 0 {
		return fate{outcome: OutcomeRefused, status: 400, code: code}
	}
	if code := magicSender(call.From); code != 0 {
		return fate{outcome: OutcomeRefused, status: 400, code: code}
	}
	if f := magicFate(call.To); f != nil {
		return *f
	}
	if s.isOptedOut(call.To, sender) {
		return fate{outcome: OutcomeRefused, status: 400, code: 21610}
	}
	return s.drawFate(call.To, call.Body, n)
}

// isE164 is what passes for a phone number; senders may also be short codes or
// alphanumeric.
func isE164(number string) bool {
	digits, ok := strings.CutPrefix(number, "+")
	return ok && len(digits) >= 7 && len(digits) <= 15 && digits[0] != '0' && strings.Trim(digits, "0123456789") == ""
}

func (s *Sim) invalid(call *Call) int {
	switch {
	case call.To == "":
		return 21604
	case call.From == "" && call.MessagingServiceSID == "":
		return 21603
	case call.Body == "":
		return 21602
	case utf8.RuneCountInString(call.Body) > maxBody:
		return 21617
	case !isE164(call.To):
		return 21211
	case strings.HasPrefix(call.From, "+") && !isE164(call.From):
		return 21212
	case call.StatusCallback != "":
		u, err := url.Parse(call.StatusCallback)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return 21609
		}
	}
	return 0
}

func (s *Sim) senderOf(call *Call) string {
	if call.From != "" {
		return call.From
	}
	return s.opts.ServiceFrom
}

func (s *Sim) withinPace(sender string) bool {
	if s.opts.MessagesPerSecond == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limiter := s.limiters[sender]
	if limiter == nil {
		limiter = rate.NewLimiter(rate.Limit(s.opts.MessagesPerSecond), max(1, int(s.opts.MessagesPerSecond)))
		s.limiters[sender] = limiter
	}
	return limiter.Allow()
}

func (s *Sim) newMessage(call *Call, n string) *message {
	m := &message{
		sid:     "SM" + s.id("message", call.To, n),
		account: s.opts.AccountSID, to: call.To, from: call.From, body: call.Body,
		service: call.MessagingServiceSID, callback: call.StatusCallback,
		direction: "outbound-api", created: call.Begin, status: "queued",
	}
	if m.service != "" {
		m.status = "accepted" // a sender is still to be chosen
	}
	s.addMessage(m)
	return m
}

func (s *Sim) resource(m *message) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := json.Marshal(m.json())
	if err != nil {
		panic(err) // strings and numbers
	}
	return body
}

// pause is false when the caller left or the Sim stopped.
func (s *Sim) pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.ctx.Done():
	}
	return false
}

func (s *Sim) answer(w http.ResponseWriter, f fate, resource []byte) {
	switch f.outcome {
	case OutcomeAccepted:
		writeJSON(w, http.StatusCreated, json.RawMessage(resource))
	case OutcomeNoSID:
		writeJSON(w, http.StatusOK, json.RawMessage(`{}`))
	case OutcomeGarbage:
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "<html><body>Created")
	case OutcomeRateLimited:
		w.Header().Set("Retry-After", "1")
		writeError(w, f.status, f.code)
	case OutcomeRefused:
		writeError(w, f.status, f.code)
	case OutcomeServerError:
		if f.status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.status)
		_, _ = fmt.Fprintf(w, "<html><body>%s</body></html>", http.StatusText(f.status))
	case OutcomeHung, OutcomeDropped:
		panic(http.ErrAbortHandler) // closes the connection without a word
	}
}

func (s *Sim) fetchMessage(w http.ResponseWriter, r *http.Request) {
	sid := strings.TrimSuffix(r.PathValue("file"), ".json")
	s.mu.Lock()
	m := s.messages[sid]
	s.mu.Unlock()
	if m == nil {
		writeError(w, 404, 20404)
		return
	}
	writeJSON(w, http.StatusOK, json.RawMessage(s.resource(m)))
}

// readForm reads a whole request, so that what follows happens after it.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		writeError(w, 400, 20001)
		return nil, false
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		writeError(w, 400, 20001)
		return nil, false
	}
	return form, true
}

func writeError(w http.ResponseWriter, status, code int) {
	writeJSON(w, status, map[string]any{
		"code": code, "message": errorText(code), "status": status,
		"more_info": "https://www.twilio.com/docs/errors/" + strconv.Itoa(code),
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
