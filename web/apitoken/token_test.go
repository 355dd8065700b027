package apitoken_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

func TestRoleAllows(t *testing.T) {
	t.Parallel()
	roles := apitoken.Roles()
	for i, has := range roles {
		for j, needs := range roles {
			require.Equal(t, i >= j, has.Allows(needs), "%s does what needs %s", has, needs)
		}
		require.False(t, has.Allows("owner"))
		require.False(t, apitoken.Role("owner").Allows(has))
	}
	require.False(t, apitoken.Role("").Allows(""))
}

func TestTokenLife(t *testing.T) {
	t.Parallel()
	pool := newDB(t)

	made, secret, err := apitoken.Create(t.Context(), pool, " ci ", apitoken.Operator)
	require.NoError(t, err)
	require.Equal(t, "ci", made.Name)
	require.Regexp(t, `^onw_[A-Za-z0-9_-]{43}$`, secret)
	var stored []byte
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT token_hash FROM api_tokens`).Scan(&stored))
	sum := sha256.Sum256([]byte(secret))
	require.Equal(t, sum[:], stored)

	got, err := apitoken.Authenticate(t.Context(), pool, secret)
	require.NoError(t, err)
	require.Equal(t, made.PublicID, got.PublicID)
	require.Equal(t, apitoken.Operator, got.Role)

	list, err := apitoken.List(t.Context(), pool)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NotNil(t, list[0].LastUsedAt)
	first := *list[0].LastUsedAt
	_, err = apitoken.Authenticate(t.Context(), pool, secret)
	require.NoError(t, err)
	list, err = apitoken.List(t.Context(), pool)
	require.NoError(t, err)
	require.Equal(t, first, *list[0].LastUsedAt, "written once a minute at most")

	for _, wrong := range []string{"", "onw_", secret + "x", strings.TrimPrefix(secret, "onw_"), strings.ToLower(secret)} {
		_, err := apitoken.Authenticate(t.Context(), pool, wrong)
		require.ErrorIs(t, err, apitoken.ErrUnknown, wrong)
	}

	revoked, err := apitoken.Revoke(t.Context(), pool, made.PublicID.String())
	require.NoError(t, err)
	require.Len(t, revoked, 1)
	require.NotNil(t, revoked[0].RevokedAt)
	_, err = apitoken.Authenticate(t.Context(), pool, secret)
	require.ErrorIs(t, err, apitoken.ErrUnknown)
	_, err = apitoken.Revoke(t.Context(), pool, made.PublicID.String())
	require.ErrorIs(t, err, apitoken.ErrUnknown)
}

func TestRevokeByName(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	for range 2 {
		_, _, err := apitoken.Create(t.Context(), pool, "demo", apitoken.Admin)
		require.NoError(t, err)
	}
	_, _, err := apitoken.Create(t.Context(), pool, "other", apitoken.Admin)
	require.NoError(t, err)
	revoked, err := apitoken.Revoke(t.Context(), pool, "demo")
	require.NoError(t, err)
	require.Len(t, revoked, 2)
	for _, nobody := range []string{"demo", "nobody", uuid.NewString()} {
		_, err = apitoken.Revoke(t.Context(), pool, nobody)
		require.ErrorIs(t, err, apitoken.ErrUnknown)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	for _, name := range []string{"", "  ", strings.Repeat("x", 101), "a\x00b"} {
		_, _, err := apitoken.Create(t.Context(), pool, name, apitoken.Viewer)
		require.ErrorIs(t, err, apitoken.ErrName)
	}
	_, _, err := apitoken.Create(t.Context(), pool, "x", "owner")
	require.ErrorIs(t, err, apitoken.ErrRole)
}
