package app_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
)

// Every malformed setting has its line, which names it, and no line shows a value.
func TestSettingsThatAreMalformed(t *testing.T) {
	t.Parallel()
	good := []string{
		"DATABASE_URL=postgres://u:hunter2@db/onward", "ONWARD_PUBLIC_URL=https://hooks.example.com", "ONWARD_SECRET_KEY=" + strings.Repeat("k", 32),
		"ONWARD_PUBLIC_ADDR=:8080", "RECURRENTE_WEBHOOK_SECRET=whsec_c2VjcmV0,whsec_b3RoZXI=", "SMTP_URL=smtp://u:hunter2@mail.example.com:587",
		"EMAIL_FROM=Onward <hello@onward.example>", "EMAIL_POSTAL_ADDRESS=1 Main St",
	}
	config, err := app.FromEnv(good)
	require.NoError(t, err)
	require.NoError(t, config.Validate(app.RoleUp))

	for _, wrong := range []string{
		"DATABASE_URL=hunter2", "ONWARD_LISTEN_DATABASE_URL=hunter2", "ONWARD_PUBLIC_ADDR=hunter2", "ONWARD_PRIVATE_ADDR=:hunter2",
		"ONWARD_PUBLIC_ADDR=:99999", "TWILIO_API_BASE_URL=hunter2", "TWILIO_API_BASE_URL=https://api.example.com/hunter2",
		"RECURRENTE_WEBHOOK_SECRET=whsec_c2VjcmV0,whsec_!hunter2", "RESEND_WEBHOOK_SECRET=hunter2", "SMTP_URL=http://hunter2", "EMAIL_FROM=hunter2",
		"RECURRENTE_LIVE=hunter2", "ONWARD_RETENTION_DAYS=hunter2", "ONWARD_API_RATE=hunter2", "ONWARD_QUIET_HOURS=25:00-26:00",
	} {
		name, _, _ := strings.Cut(wrong, "=")
		config, err := app.FromEnv(append(good[:len(good):len(good)], wrong))
		for _, role := range []app.Role{app.RoleWeb, app.RoleWorker, app.RoleUp} {
			all := app.Problems(err, config.Validate(role))
			require.ErrorContains(t, all, name+": ", wrong)
			require.NotContains(t, all.Error(), "\n", wrong)
			require.NotContains(t, all.Error(), "hunter2", wrong)
		}
	}
}

func TestAllSettingsThatAreMalformedAtOnce(t *testing.T) {
	t.Parallel()
	config, err := app.FromEnv([]string{"RECURRENTE_LIVE=maybe", "ONWARD_API_RATE=x", "ONWARD_LOG_FORMAT=xml", "DATABASE_URL=nonsense"})
	var names []string
	for line := range strings.SplitSeq(app.Problems(err, config.Validate(app.RoleWeb)).Error(), "\n") {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	require.Equal(t, []string{"DATABASE_URL", "ONWARD_API_RATE", "ONWARD_LOG_FORMAT", "ONWARD_PUBLIC_URL", "ONWARD_SECRET_KEY", "RECURRENTE_LIVE"}, names)
	require.NoError(t, app.Problems(nil, nil))
}
