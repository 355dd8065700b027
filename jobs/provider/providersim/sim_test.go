package providersim_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
)

func TestNewRefusesBadOptions(t *testing.T) {
	t.Parallel()
	good := providersim.Options{AccountSID: accountSID, AuthToken: authToken}
	_, err := providersim.New(good)
	require.NoError(t, err)
	for name, change := range map[string]func(*providersim.Options){
		"no account":       func(o *providersim.Options) { o.AccountSID = "" },
		"no token":         func(o *providersim.Options) { o.AuthToken = "" },
		"bad secret":       func(o *providersim.Options) { o.ResendSecret = "whsec_***" },
		"negative latency": func(o *providersim.Options) { o.LatencyMin = -1 },
		"rate over 1":      func(o *providersim.Options) { o.Faults.LoseCallback = 1.1 },
		"rates over 1":     func(o *providersim.Options) { o.Faults.Drop, o.Faults.Garbage = 0.6, 0.6 },
		"relative URL":     func(o *providersim.Options) { o.PublicURL = "/webhooks" },
		"negative pace":    func(o *providersim.Options) { o.MessagesPerSecond = -1 },
	} {
		opts := good
		change(&opts)
		_, err := providersim.New(opts)
		require.Error(t, err, name)
	}
}

func TestStopEndsEverything(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{CallbackDelay: time.Hour, SvixScale: 1}, func(request) int { return 500 })
	_, err := b.client.Send(t.Context(), b.text(phone, "hello")) // a callback in an hour
	require.NoError(t, err)
	_, err = b.sim.SubscriptionEvent("cancel", providersim.Subscription{ID: "su_1"}) // a retry in five seconds
	require.NoError(t, err)
	hung := make(chan error)
	go func() {
		_, err := b.client.Send(context.Background(), b.text(providersim.MagicHang, "hello"))
		hung <- err
	}()
	idle, err := net.Dial("tcp", b.sim.SMTPURL()[len("smtp://"):len(b.sim.SMTPURL())-len("?tls=none")])
	require.NoError(t, err)
	defer func() { _ = idle.Close() }()
	require.NoError(t, b.sim.Wait(t.Context(), func() bool { return len(b.sim.Calls()) == 2 && len(b.sim.Deliveries()) == 1 }))
	require.Equal(t, 2, b.sim.Pending())

	require.NoError(t, b.sim.Stop(t.Context()))
	require.Zero(t, b.sim.Pending())
	require.Error(t, <-hung)
	_, err = b.sim.SubscriptionEvent("cancel", providersim.Subscription{ID: "su_1"})
	require.Error(t, err, "nothing starts any more")
	require.NoError(t, b.sim.Stop(t.Context()), "a second time is harmless")
	require.Error(t, b.sim.Start(t.Context()), "and there is no second life")
}

func TestStopBeforeStart(t *testing.T) {
	t.Parallel()
	sim, err := providersim.New(providersim.Options{AccountSID: accountSID, AuthToken: authToken})
	require.NoError(t, err)
	require.NoError(t, sim.Stop(t.Context()))
}

func TestStartReportsATakenPort(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	for _, opts := range []providersim.Options{
		{TwilioAddr: b.sim.TwilioURL()[len("http://"):]},
		{SMTPAddr: b.sim.TwilioURL()[len("http://"):]},
	} {
		opts.AccountSID, opts.AuthToken = accountSID, authToken
		sim, err := providersim.New(opts)
		require.NoError(t, err)
		require.Error(t, sim.Start(t.Context()))
		require.NoError(t, sim.Stop(t.Context()))
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setup(t, providersim.Options{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.sim.Wait(ctx, func() bool { return false }), context.Canceled)
}

func TestIDsOfTwoRunsDiffer(t *testing.T) {
	t.Parallel()
	send := func(opts providersim.Options) string {
		b := setup(t, opts, nil)
		accepted, err := b.client.Send(t.Context(), b.text(phone, "hello"))
		require.NoError(t, err)
		return accepted.SID
	}
	require.NotEqual(t, send(providersim.Options{}), send(providersim.Options{}))
	require.Equal(t, send(providersim.Options{RunID: "r"}), send(providersim.Options{RunID: "r"}))
}
