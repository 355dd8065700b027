package twilio_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/provider"
	"onward/jobs/provider/twilio"
)

func TestNewRefusesBadOptions(t *testing.T) {
	t.Parallel()
	good := twilio.Options{AccountSID: accountSID, AuthToken: "t", From: fromNumber}
	client, err := twilio.New(good)
	require.NoError(t, err)
	client.Close()
	for name, change := range map[string]func(*twilio.Options){
		"no account":         func(o *twilio.Options) { o.AccountSID = "" },
		"account of a path":  func(o *twilio.Options) { o.AccountSID = "AC/../x" },
		"no token":           func(o *twilio.Options) { o.AuthToken = "" },
		"two tokens":         func(o *twilio.Options) { o.AuthToken = "a,b" },
		"no sender":          func(o *twilio.Options) { o.From = "" },
		"not a service":      func(o *twilio.Options) { o.MessagingServiceSID = "SM1" },
		"negative time-out":  func(o *twilio.Options) { o.Timeout = -1 },
		"base URL no scheme": func(o *twilio.Options) { o.BaseURL = "api.twilio.com" },
		"base URL path":      func(o *twilio.Options) { o.BaseURL = "https://api.twilio.com/2010-04-01" },
		"base URL password":  func(o *twilio.Options) { o.BaseURL = "https://u:secret@api.twilio.com" },
		"base URL malformed": func(o *twilio.Options) { o.BaseURL = "https://u:secret@%zz" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := good
			change(&opts)
			_, err := twilio.New(opts)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestClassifyListsEveryCode(t *testing.T) {
	t.Parallel()
	for class, codes := range map[provider.Class][]string{
		provider.ClassOptedOut:     {"21610"},
		provider.ClassBadRecipient: {"21211", "21214", "21217", "21268", "21612", "21614", "21635", "30005", "30006"},
		provider.ClassSenderBroken: {
			"20003", "20005", "21212", "21408", "21601", "21603", "21606", "21608", "21609",
			"21701", "21702", "21703", "21704", "21705", "30002", "30024", "30032", "30034",
		},
		provider.ClassContentRefused: {"21602", "21617", "30004", "30007"},
		provider.ClassRetryLater:     {"20429", "21611", "30001", "30500"},
		provider.ClassDeliveryFailed: {"30003", "30008", "30017", "30022", "30023", "30027", "30410"},
	} {
		for _, code := range codes {
			got, ok := twilio.Classify(code)
			require.True(t, ok, code)
			require.Equal(t, class, got, code)
		}
	}
	for _, code := range []string{"", "0", "21610 ", "63018", "99999"} {
		_, ok := twilio.Classify(code)
		require.False(t, ok, code)
	}
}
