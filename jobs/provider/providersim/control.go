package providersim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// maxControl bounds a control request.
const maxControl = 1 << 20

func (s *Sim) controlRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /_sim/reply", s.controlReply)
	mux.HandleFunc("POST /_sim/recurrente", s.controlRecurrente)
	mux.HandleFunc("POST /_sim/resend", s.controlResend)
	mux.HandleFunc("GET /_sim/messages", controlList(s.Messages))
	mux.HandleFunc("GET /_sim/calls", controlList(s.Calls))
	mux.HandleFunc("GET /_sim/deliveries", controlList(s.Deliveries))
	mux.HandleFunc("GET /_sim/mails", controlList(s.Mails))
}

func (s *Sim) controlReply(w http.ResponseWriter, r *http.Request) {
	var in struct {
		From  string     `json:"from"`
		To    string     `json:"to"`
		Body  string     `json:"body"`
		Extra url.Values `json:"extra"`
	}
	if !readControl(w, r, &in) {
		return
	}
	if in.From == "" || in.To == "" {
		controlError(w, http.StatusBadRequest, errors.New("from and to are needed"))
		return
	}
	d, err := s.Reply(r.Context(), in.From, in.To, in.Body, in.Extra)
	if err != nil {
		controlError(w, http.StatusBadGateway, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"sid": d.ID, "status": d.Status})
}

func (s *Sim) controlRecurrente(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Event          string `json:"event"`
		SubscriptionID string `json:"subscription_id"`
		SiteID         string `json:"site_id"`
		AmountInCents  int64  `json:"amount_in_cents"`
		Currency       string `json:"currency"`
		Failed         bool   `json:"failed"`
		Sandbox        bool   `json:"sandbox"`
	}
	if !readControl(w, r, &in) {
		return
	}
	var ids []string
	var err error
	switch {
	case in.Event == "charge":
		var pair [2]string
		pair, _, err = s.Charge(Charge{
			SubscriptionID: in.SubscriptionID, SiteID: in.SiteID, AmountInCents: in.AmountInCents,
			Currency: in.Currency, Failed: in.Failed, Sandbox: in.Sandbox,
		})
		ids = pair[:]
	case in.Event != "" && in.SubscriptionID != "":
		var id string
		id, err = s.SubscriptionEvent(in.Event, Subscription{ID: in.SubscriptionID, SiteID: in.SiteID, Sandbox: in.Sandbox})
		ids = []string{id}
	default:
		err = errors.New("event must be charge, or subscription.… with a subscription_id")
	}
	controlSent(w, ids, err)
}

func (s *Sim) controlResend(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Event     string            `json:"event"`
		To        string            `json:"to"`
		MessageID string            `json:"message_id"`
		Headers   map[string]string `json:"headers"`
		Link      string            `json:"link"`
	}
	if !readControl(w, r, &in) {
		return
	}
	if in.Event == "" || in.To == "" {
		controlError(w, http.StatusBadRequest, errors.New("event and to are needed"))
		return
	}
	id, err := s.EmailEvent(in.Event, EmailEvent{To: in.To, MessageID: in.MessageID, Headers: in.Headers, Link: in.Link})
	controlSent(w, []string{id}, err)
}

func controlSent(w http.ResponseWriter, ids []string, err error) {
	if err != nil {
		controlError(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, http.StatusAccepted, map[string]any{"ids": ids})
}

// controlList serves a record, or its newest items when ?limit= says so.
func controlList[T any](list func() []T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		items := list()
		if v := r.URL.Query().Get("limit"); v != "" {
			limit, err := strconv.Atoi(v)
			if err != nil || limit < 0 {
				controlError(w, http.StatusBadRequest, errors.New("limit must be a number"))
				return
			}
			items = items[max(0, len(items)-limit):]
		}
		writeJSON(w, http.StatusOK, map[string]any{"items": items})
	}
}

// readControl decodes one JSON object and nothing else.
func readControl(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControl))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil && !errors.Is(decoder.Decode(&struct{}{}), io.EOF) {
		err = errors.New("more than one JSON object")
	}
	if err != nil {
		controlError(w, http.StatusBadRequest, err)
		return false
	}
	return true
}

func controlError(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]any{"error": err.Error()})
}
