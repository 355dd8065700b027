package pgstore_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
)

func addBusinesses(t *testing.T, pool *pgxpool.Pool, list ...pgstore.NewBusiness) []int64 {
	t.Helper()
	var ids []int64
	inTx(t, pool, func(tx pgx.Tx) {
		for _, b := range list {
			id, _, err := pgstore.UpsertBusiness(t.Context(), tx, b)
			require.NoError(t, err)
			ids = append(ids, id)
		}
	})
	return ids
}

func TestListBusinessesFilters(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	addBusinesses(t, pool,
		pgstore.NewBusiness{Name: "Panadería López", Phone: "+502 5555 1234", Email: "ana@pan.example", City: "Antigua, Guatemala", Country: "GT", Category: "Bakery"},
		pgstore.NewBusiness{Name: "100% Fun_House", Phone: "(415) 555-2671", City: "San Francisco", Country: "US", Category: "games"},
		pgstore.NewBusiness{Name: "Acme 1234 Ltd", Phone: "0161 496 0000", City: "Manchester", Country: "GB"},
		pgstore.NewBusiness{Name: "Zeta", City: "Cobán"},
	)
	hourAgo, hourAhead := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		filter pgstore.BusinessFilter
		want   []string
	}{
		"everyone":                 {pgstore.BusinessFilter{}, []string{"100% Fun_House", "Acme 1234 Ltd", "Panadería López", "Zeta"}},
		"part of a name":           {pgstore.BusinessFilter{Q: "nader"}, []string{"Panadería López"}},
		"in any case":              {pgstore.BusinessFilter{Q: "ACME"}, []string{"Acme 1234 Ltd"}},
		"accents in upper case":    {pgstore.BusinessFilter{Q: "LÓPEZ"}, []string{"Panadería López"}},
		"part of an email":         {pgstore.BusinessFilter{Q: "pan.ex"}, []string{"Panadería López"}},
		"part of a city":           {pgstore.BusinessFilter{Q: "francis"}, []string{"100% Fun_House"}},
		"a phone as stored":        {pgstore.BusinessFilter{Q: "+50255551234"}, []string{"Panadería López"}},
		"a phone with dashes":      {pgstore.BusinessFilter{Q: "(415) 555-26"}, []string{"100% Fun_House"}},
		"a phone as dialled":       {pgstore.BusinessFilter{Q: "0161 496"}, []string{"Acme 1234 Ltd"}},
		"a phone from abroad":      {pgstore.BusinessFilter{Q: "00 502 5555 1234"}, []string{"Panadería López"}},
		"a phone from America":     {pgstore.BusinessFilter{Q: "011 502 5555-1234"}, []string{"Panadería López"}},
		"the same in one":          {pgstore.BusinessFilter{Q: "01150255551234"}, []string{"Panadería López"}},
		"from abroad in one":       {pgstore.BusinessFilter{Q: "0050255551234"}, []string{"Panadería López"}},
		"a phone as a link":        {pgstore.BusinessFilter{Q: "tel:+50255551234"}, []string{"Panadería López"}},
		"a link with dashes":       {pgstore.BusinessFilter{Q: "TEL:+502-5555-1234"}, []string{"Panadería López"}},
		"digits of full width":     {pgstore.BusinessFilter{Q: "＋５０２　５５５５ １２３４"}, []string{"Panadería López"}},
		"digits in name and phone": {pgstore.BusinessFilter{Q: "1234"}, []string{"Acme 1234 Ltd", "Panadería López"}},
		"too few digits":           {pgstore.BusinessFilter{Q: "55"}, nil},
		"percent is no pattern":    {pgstore.BusinessFilter{Q: "00%"}, []string{"100% Fun_House"}},
		"underscore neither":       {pgstore.BusinessFilter{Q: "n_H"}, []string{"100% Fun_House"}},
		"backslash neither":        {pgstore.BusinessFilter{Q: `\`}, nil},
		"without its accents":      {pgstore.BusinessFilter{Q: "panaderia lopez"}, []string{"Panadería López"}},
		"with accents of its own":  {pgstore.BusinessFilter{Q: "ácmé"}, []string{"Acme 1234 Ltd"}},
		"a phone with its zero":    {pgstore.BusinessFilter{Q: "+44 (0)161 496"}, []string{"Acme 1234 Ltd"}},
		"a phone's country first":  {pgstore.BusinessFilter{Q: "(502) 5555-1234"}, []string{"Panadería López"}},
		"two letters begin a word": {pgstore.BusinessFilter{Q: "lo"}, []string{"Panadería López"}},
		"and are in no middle":     {pgstore.BusinessFilter{Q: "op"}, nil},
		"one letter does, too":     {pgstore.BusinessFilter{Q: "z"}, []string{"Zeta"}},
		"not over two fields":      {pgstore.BusinessFilter{Q: "zeta coban"}, nil},
		"city without accents":     {pgstore.BusinessFilter{City: "coban"}, []string{"Zeta"}},
		"a status that is indexed": {pgstore.BusinessFilter{ContactStatus: pgstore.AnyOf{"replied"}}, nil},
		"city with a comma":        {pgstore.BusinessFilter{City: "antigua, guatemala"}, []string{"Panadería López"}},
		"city in upper case":       {pgstore.BusinessFilter{City: "COBÁN"}, []string{"Zeta"}},
		"country":                  {pgstore.BusinessFilter{Country: "gb"}, []string{"Acme 1234 Ltd"}},
		"category":                 {pgstore.BusinessFilter{Category: "bakery"}, []string{"Panadería López"}},
		"any status":               {pgstore.BusinessFilter{ContactStatus: pgstore.AnyOf{"pending", "replied"}, City: "manchester"}, []string{"Acme 1234 Ltd"}},
		"other status":             {pgstore.BusinessFilter{TicketStatus: pgstore.AnyOf{"open"}}, nil},
		"created":                  {pgstore.BusinessFilter{CreatedAfter: &hourAgo, CreatedBefore: &hourAhead, Country: "US"}, []string{"100% Fun_House"}},
		"updated":                  {pgstore.BusinessFilter{UpdatedAfter: &hourAhead}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, next, err := pgstore.ListBusinesses(t.Context(), pool, c.filter, pgstore.SortName, nil, 10)
			require.NoError(t, err)
			require.Nil(t, next)
			var names []string
			for _, b := range list {
				names = append(names, b.Name)
			}
			require.Equal(t, c.want, names)
		})
	}
}

func TestListBusinessesPagesAreStable(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	var list []pgstore.NewBusiness
	for i := range 9 {
		list = append(list, pgstore.NewBusiness{Name: fmt.Sprintf("Same %d", i/3)}) // keys that several share
	}
	want := addBusinesses(t, pool, list...)

	for _, sort := range []pgstore.BusinessSort{
		pgstore.SortName, pgstore.SortNameDesc, pgstore.SortCreated, pgstore.SortCreatedDesc, pgstore.SortUpdated, pgstore.SortUpdatedDesc,
	} {
		var got []int64
		var behind *pgstore.BusinessPosition
		for {
			page, next, err := pgstore.ListBusinesses(t.Context(), pool, pgstore.BusinessFilter{Q: "Same"}, sort, behind, 2)
			require.NoError(t, err)
			for _, b := range page {
				got = append(got, b.ID)
			}
			if next == nil {
				break
			}
			// What a client sends back has been through JSON.
			encoded, err := json.Marshal(next)
			require.NoError(t, err)
			behind = &pgstore.BusinessPosition{}
			require.NoError(t, json.Unmarshal(encoded, behind))
			addBusinesses(t, pool, pgstore.NewBusiness{Name: "Newcomer"})
		}
		slices.Sort(got)
		require.Equal(t, want, got, "%s: each row once", sort)
	}
	_, _, err := pgstore.ListBusinesses(t.Context(), pool, pgstore.BusinessFilter{}, "id; DROP TABLE", nil, 2)
	require.ErrorContains(t, err, "unknown order")
}

func TestBusinessFilterJSON(t *testing.T) {
	t.Parallel()
	var f pgstore.BusinessFilter
	require.NoError(t, json.Unmarshal([]byte(`{"contact_status": "pending, replied", "ticket_status": ["open"]}`), &f))
	require.Equal(t, pgstore.BusinessFilter{
		ContactStatus: pgstore.AnyOf{"pending", "replied"}, TicketStatus: pgstore.AnyOf{"open"},
	}, f)
	require.Error(t, json.Unmarshal([]byte(`{"contact_status": 7}`), &f))

	args := []any{"first"}
	require.Equal(t, "b.contact_status = ANY($2)\n\t\tAND b.ticket_status = ANY($3)", f.Where("b", &args))
	require.Len(t, args, 3)
	require.Equal(t, "true", pgstore.BusinessFilter{}.Where("b", &args))
}

// A long number in what is searched for narrows the search down, and the rest of the text still counts.
func TestListBusinesses_longNumber(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	addBusinesses(t, pool,
		pgstore.NewBusiness{Name: "Alma's bakery 543210", Email: "owner@business-543210.example", Phone: "+502 5432 1077"},
		pgstore.NewBusiness{Name: "Beto's bakery 543210", Email: "beto@business-9.example"},
		pgstore.NewBusiness{Name: "Alma's bakery 54321", Email: "owner@business-54321.example"},
	)
	for q, want := range map[string][]string{
		"Alma's bakery 543210":          {"Alma's bakery 543210"},
		"bakery 543210":                 {"Alma's bakery 543210", "Beto's bakery 543210"},
		"bakery 54321":                  {"Alma's bakery 54321", "Alma's bakery 543210", "Beto's bakery 543210"},
		"OWNER@business-54321.example":  {"Alma's bakery 54321"},
		"business-54321":                {"Alma's bakery 54321", "Alma's bakery 543210"},
		"ALMA'S bakery 54321":           {"Alma's bakery 54321", "Alma's bakery 543210"},
		"nobody's bakery 543210":        nil,
		"+502 54321077":                 {"Alma's bakery 543210"},
		"00502-54321-077":               {"Alma's bakery 543210"},
		"owner@business-543210_example": nil,
	} {
		list, _, err := pgstore.ListBusinesses(t.Context(), pool, pgstore.BusinessFilter{Q: q}, pgstore.SortName, nil, 10)
		require.NoError(t, err)
		var names []string
		for _, b := range list {
			names = append(names, b.Name)
		}
		require.Equal(t, want, names, q)
	}
	// A group of a phone's digits is what many have.
	for q, want := range map[string]bool{"Alma's bakery 54321": true, "00502-54321-077": false, "+502 54321077": true} {
		var args []any
		narrowed := strings.Contains(pgstore.BusinessFilter{Q: q}.Where("", &args), "s.document || '' LIKE onward_fold($1)")
		require.Equal(t, want, narrowed, q)
	}
}
