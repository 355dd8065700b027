package pgstore_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func TestUpsertBusiness(t *testing.T) {
	t.Parallel()
	pool := newDB(t)

	var id int64
	inTx(t, pool, func(tx pgx.Tx) {
		var created bool
		var err error
		id, created, err = pgstore.UpsertBusiness(t.Context(), tx, pgstore.NewBusiness{
			ExternalID: "crm-7", Name: " Panadería López ", Phone: "5555 1234", Email: "Ana@Example.com", City: "Antigua",
			Country: "gt", Timezone: "America/Guatemala", Category: "bakery",
		})
		require.NoError(t, err)
		require.True(t, created)
	})
	b, err := pgstore.BusinessByID(t.Context(), pool, id)
	require.NoError(t, err)
	require.Equal(t, "Panadería López", b.Name)
	require.Equal(t, "+50255551234", b.Phone)
	require.Equal(t, "ana@example.com", b.Email)
	require.Equal(t, "GT", b.Country)
	require.Equal(t, lifecycle.Pending, b.Contact)
	require.Equal(t, lifecycle.None, b.Website)
	require.Equal(t, []string{"sms:+50255551234", "email:ana@example.com"}, b.MatchKeys())
	require.Equal(t, "UTC", b.CreatedAt.Location().String())

	inTx(t, pool, func(tx pgx.Tx) {
		again, created, err := pgstore.UpsertBusiness(t.Context(), tx, pgstore.NewBusiness{ExternalID: "crm-7", Name: "Another name"})
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, id, again)
	})
	same, err := pgstore.BusinessByPublicID(t.Context(), pool, b.PublicID)
	require.NoError(t, err)
	require.Equal(t, b, same)

	_, err = pgstore.BusinessByPublicID(t.Context(), pool, uuid.New())
	require.ErrorIs(t, err, pgstore.ErrNoBusiness)
}

func TestUpsertBusinessNamesEveryWrongField(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	inTx(t, pool, func(tx pgx.Tx) {
		_, _, err := pgstore.UpsertBusiness(t.Context(), tx, pgstore.NewBusiness{
			Name: " ", Phone: "5555 1234", Email: "ana", City: strings.Repeat("x", 121), Timezone: "Mars/Olympus", Category: "a\x00b",
		})
		var wrong pgstore.FieldErrors
		require.ErrorAs(t, err, &wrong)
		var fields []string
		for _, w := range wrong {
			fields = append(fields, w.Field)
		}
		require.ElementsMatch(t, []string{"name", "phone", "email", "city", "timezone", "category"}, fields)

		for _, country := range []string{"Guatemala", "XX", "UK", "G"} {
			_, _, err := pgstore.UpsertBusiness(t.Context(), tx, pgstore.NewBusiness{Name: "x", Country: country, Phone: "5555 1234"})
			require.ErrorAs(t, err, &wrong, country)
			require.Len(t, wrong, 1, "the phone is not blamed for the country")
			require.Equal(t, "country", wrong[0].Field)
		}
		_, _, err = pgstore.UpsertBusiness(t.Context(), tx, pgstore.NewBusiness{Name: "x", Timezone: "Local"})
		require.ErrorContains(t, err, "timezone")
	})
}

func TestUpdateBusiness(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	ptr := func(s string) *string { return &s }
	inTx(t, pool, func(tx pgx.Tx) {
		id, _, err := pgstore.UpsertBusiness(t.Context(), tx, pgstore.NewBusiness{Name: "A", Country: "GT", City: "Cobán", ExternalID: "1"})
		require.NoError(t, err)
		_, _, err = pgstore.UpsertBusiness(t.Context(), tx, pgstore.NewBusiness{Name: "B", ExternalID: "2"})
		require.NoError(t, err)

		_, b, err := pgstore.UpdateBusiness(t.Context(), tx, id, pgstore.BusinessChanges{Phone: ptr("5555 1234"), City: ptr("")})
		require.NoError(t, err)
		require.Equal(t, "+50255551234", b.Phone, "read by the country that is stored")
		require.Empty(t, b.City)
		require.Equal(t, "A", b.Name)
		require.Equal(t, "1", b.ExternalID)

		_, _, err = pgstore.UpdateBusiness(t.Context(), tx, id, pgstore.BusinessChanges{Name: ptr("")})
		require.ErrorContains(t, err, "name: is empty")
		_, _, err = pgstore.UpdateBusiness(t.Context(), tx, 999, pgstore.BusinessChanges{})
		require.ErrorIs(t, err, pgstore.ErrNoBusiness)
	})
	inTx(t, pool, func(tx pgx.Tx) {
		var id int64
		require.NoError(t, tx.QueryRow(t.Context(), `SELECT id FROM businesses WHERE external_id = '1'`).Scan(&id))
		sub, err := tx.Begin(t.Context())
		require.NoError(t, err)
		_, _, err = pgstore.UpdateBusiness(t.Context(), sub, id, pgstore.BusinessChanges{ExternalID: ptr("2")})
		require.ErrorIs(t, err, pgstore.ErrExternalIDTaken)
		require.NoError(t, sub.Rollback(t.Context()))
	})
}
