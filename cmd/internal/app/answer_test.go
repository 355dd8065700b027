package app_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs/worker"
)

// An answer by hand is a send like any other: a STOP that comes after it was asked for, and before its turn, ends it.
func TestPromise4_anAnswerIsNotSentAfterAStop(t *testing.T) {
	t.Parallel()
	// The web process takes the answer; no worker runs until the STOP is accepted.
	s := start(t, func(o *app.Options) { o.Role = app.RoleWeb }, nil)
	business, phone, _ := s.business("")
	var answered object
	s.call("POST", "/messages", object{"business_id": business, "channel": "sms", "body": "It costs 99."}, &answered, http.StatusCreated)
	require.Equal(t, http.StatusOK, s.reply(newSID("SM"), phone, "STOP"))

	w, err := app.New(t.Context(), app.Options{
		Config: s.config, Role: app.RoleWorker, Logger: slog.New(slog.DiscardHandler), Version: "test", Tune: func(o *worker.Options) { o.SMSPerSecond = 1e6 },
	})
	require.NoError(t, err)
	require.NoError(t, w.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, w.Stop(context.Background())) })
	var m object
	s.eventually("the answer is canceled", func() bool {
		s.call("GET", "/messages/"+answered.str("id"), nil, &m, http.StatusOK)
		return m.str("state") == "canceled"
	})
	require.Equal(t, "suppressed", m.str("reason"))
	require.Empty(t, s.sim.Calls())
}

// Without one it goes out, and what it is an answer to waits no longer.
func TestAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	business, phone, _ := s.business("")
	c := s.campaign("sms", business)
	s.awaitMessage(c, business, "delivered")
	require.Equal(t, http.StatusOK, s.reply(newSID("SM"), phone, "How much is it?"))
	s.awaitStatus(business, "contact_status", "replied")
	var inbox page
	s.call("GET", "/replies", nil, &inbox, http.StatusOK)
	require.Len(t, inbox.Items, 1)
	var answered object
	s.call("POST", "/messages", object{
		"business_id": business, "channel": "sms", "body": "It costs 99.", "in_reply_to": inbox.Items[0].str("id"),
	}, &answered, http.StatusCreated)
	s.call("GET", "/replies", nil, &inbox, http.StatusOK)
	require.Empty(t, inbox.Items)
	s.eventually("the answer is delivered", func() bool {
		var m object
		s.call("GET", "/messages/"+answered.str("id"), nil, &m, http.StatusOK)
		return m.str("state") == "delivered"
	})
	s.awaitStatus(business, "contact_status", "replied")
	calls := s.sim.Calls()
	require.Equal(t, phone, calls[len(calls)-1].To)
}
