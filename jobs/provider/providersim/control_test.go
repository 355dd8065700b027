package providersim_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
)

func (b *bundle) control(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	resp := do(t, method, b.sim.TwilioURL()+"/_sim/"+path, "application/json", body)
	var out map[string]any
	require.NoError(t, json.Unmarshal(resp.Body.Bytes(), &out), resp.Body.String())
	return resp.Code, out
}

func TestControl(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	_, err := b.client.Send(t.Context(), b.text(phone, "hello"))
	require.NoError(t, err)
	b.drain(t)

	status, out := b.control(t, http.MethodPost, "reply", `{"from":"`+phone+`","to":"`+sender+`","body":"STOP","extra":{"OptOutType":["STOP"]}}`)
	require.Equal(t, http.StatusOK, status)
	require.NotEmpty(t, out["sid"])
	status, out = b.control(t, http.MethodPost, "recurrente", `{"event":"charge","subscription_id":"su_1","site_id":"s1","amount_in_cents":100,"currency":"USD"}`)
	require.Equal(t, http.StatusAccepted, status)
	require.Len(t, out["ids"], 2)
	status, _ = b.control(t, http.MethodPost, "recurrente", `{"event":"subscription.cancel","subscription_id":"su_1"}`)
	require.Equal(t, http.StatusAccepted, status)
	status, _ = b.control(t, http.MethodPost, "resend", `{"event":"email.bounced","to":"ana@example.com"}`)
	require.Equal(t, http.StatusAccepted, status)
	b.drain(t)
	require.Len(t, b.onward.got(), 2+1+2+1+1)

	for path, want := range map[string]int{"messages": 2, "calls": 1, "deliveries": 7, "mails": 0, "deliveries?limit=3": 3} {
		status, out = b.control(t, http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, status, path)
		require.Len(t, out["items"], want, path)
	}
}

func TestControlRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, func(request) int { return 500 })
	for path, body := range map[string]string{
		"reply":           `{"from":"+1","to":"+2","text":"unknown field"}`,
		"reply?2":         `{"body":"x"}`,
		"reply?3":         `{"from":"+1","to":"+2"} {"from":"+1","to":"+2"}`,
		"recurrente":      `{"event":"subscription.cancel"}`,
		"recurrente?2":    `not JSON`,
		"resend":          `{"event":"email.opened"}`,
		"recurrente?more": `{"event":"charge","id":"x"}`,
	} {
		status, out := b.control(t, http.MethodPost, path, body)
		require.Equal(t, http.StatusBadRequest, status, path)
		require.NotEmpty(t, out["error"], path)
	}
	status, _ := b.control(t, http.MethodGet, "calls?limit=x", "")
	require.Equal(t, http.StatusBadRequest, status)
	status, _ = b.control(t, http.MethodPost, "reply", `{"from":"+12025550123","to":"+15005550006","body":"hi"}`)
	require.Equal(t, http.StatusBadGateway, status, "Onward did not take it")
}
