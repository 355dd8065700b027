package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// ImportVerdict says what came of an imported row.
type ImportVerdict string

// The verdicts.
const (
	ImportCreated   ImportVerdict = "created"
	ImportUpdated   ImportVerdict = "updated"
	ImportUnchanged ImportVerdict = "unchanged"
	ImportRefused   ImportVerdict = "refused"
)

// ImportVerdicts lists them.
func ImportVerdicts() []ImportVerdict {
	return []ImportVerdict{ImportCreated, ImportUpdated, ImportUnchanged, ImportRefused}
}

// Imported is what came of one row.
type Imported struct {
	Verdict ImportVerdict
	Reason  string // why it was refused
}

// ImportOptions says how rows are read.
type ImportOptions struct {
	// Country is that of rows, and of the businesses that they name, that have none: by it their phone is read, and a
	// new business gets it.
	Country string
	// DryRun finds out what would come of each row, and changes nothing.
	DryRun bool
}

// ImportBusinesses takes rows as a file has them, each the continuation of the one before. A row is of the business with
// its external_id; where none has it, or the row has none, of the business without external_id that has its phone, or
// else its email, where it has no phone. What a row leaves empty stays as it is. Statuses are never touched.
//
// The result is in the order of the rows. Receipts may be waiting for addresses that are new: the caller passes keys to
// [RequeueMatching] in the same transaction. A transaction that ends because another import was at it may be run again.
func ImportBusinesses(ctx context.Context, tx pgx.Tx, rows []NewBusiness, o ImportOptions) (out []Imported, keys []string, err error) {
	im := &importing{out: make([]Imported, len(rows)), rows: slices.Clone(rows), o: o, zones: map[string]string{}}
	// The table grows under plans that were made when it was empty, and has no statistics yet: left to itself PostgreSQL
	// reads all of it for each batch.
	if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
		return nil, nil, fmt.Errorf("prepare an import: %w", err)
	}
	if err := im.normalize(ctx, tx); err != nil {
		return nil, nil, err
	}
	if err := im.load(ctx, tx); err != nil {
		return nil, nil, err
	}
	for i := range im.rows {
		if im.out[i].Verdict == "" {
			im.out[i] = im.take(im.rows[i])
		}
	}
	if o.DryRun {
		return im.out, nil, nil
	}
	if err := im.insert(ctx, tx); err != nil {
		return nil, nil, err
	}
	if err := im.update(ctx, tx); err != nil {
		return nil, nil, err
	}
	return im.out, im.keys(), nil
}

// importing is one batch of rows and the businesses that they may be of.
type importing struct {
	o    ImportOptions
	rows []NewBusiness
	out  []Imported
	// zones are the time zones that were found good, by their spelling in the file: each is a file to read.
	zones map[string]string

	known      []*importedBusiness // in the order of their making
	byExternal map[string]*importedBusiness
	byPhone    map[string][]*importedBusiness
	byEmail    map[string][]*importedBusiness
}

// importedBusiness is a business as it is, or will be.
type importedBusiness struct {
	id         int64 // 0: to be inserted
	b          NewBusiness
	erased     bool
	changed    bool
	addressNew bool
}

const importColumns = `id, COALESCE(external_id, ''), name, COALESCE(phone, ''), COALESCE(email, ''), COALESCE(city, ''), COALESCE(country, ''),
	COALESCE(timezone, ''), COALESCE(category, ''), erased_at IS NOT NULL`

func scanImported(row pgx.CollectableRow) (*importedBusiness, error) {
	e := &importedBusiness{}
	err := row.Scan(&e.id, &e.b.ExternalID, &e.b.Name, &e.b.Phone, &e.b.Email, &e.b.City, &e.b.Country, &e.b.Timezone, &e.b.Category, &e.erased)
	return e, err
}

// normalize checks the rows and brings them to the form in which they are stored. A phone is read by the country of its
// row, else of its business, else by the default.
func (im *importing) normalize(ctx context.Context, tx pgx.Tx) error {
	var external []string
	for i := range im.rows {
		if id := strings.TrimSpace(im.rows[i].ExternalID); id != "" {
			external = append(external, id)
		}
	}
	rows, err := tx.Query(ctx, `
		SELECT external_id, COALESCE(country, '')
		FROM businesses
		WHERE external_id = ANY($1)`, external)
	if err != nil {
		return fmt.Errorf("find businesses by external id: %w", err)
	}
	countries := map[string]string{}
	var id, country string
	if _, err := pgx.ForEachRow(rows, []any{&id, &country}, func() error { countries[id] = country; return nil }); err != nil {
		return fmt.Errorf("find businesses by external id: %w", err)
	}
	for i := range im.rows {
		r := &im.rows[i]
		own := strings.TrimSpace(r.Country)
		r.Country = cmp.Or(own, countries[strings.TrimSpace(r.ExternalID)], im.o.Country)
		if err := im.normalizeRow(r); err != nil {
			im.out[i] = Imported{ImportRefused, err.Error()}
			continue
		}
		if own == "" {
			r.Country = "" // what the row leaves empty stays as it is
		}
		if r.ExternalID == "" && r.Phone == "" && r.Email == "" {
			im.out[i] = Imported{ImportRefused, "has neither external_id nor phone nor email: a second import could not find it again"}
		}
	}
	return nil
}

func (im *importing) normalizeRow(r *NewBusiness) error {
	spelled := r.Timezone
	zone, good := im.zones[spelled]
	if good {
		r.Timezone = ""
	}
	if err := normalizeBusiness(r); err != nil {
		return err
	}
	if good {
		r.Timezone = zone
	}
	im.zones[spelled] = r.Timezone
	return nil
}

// load reads and locks the businesses that the rows may be of.
func (im *importing) load(ctx context.Context, tx pgx.Tx) error {
	var external, phones, emails, keys []string
	for i, r := range im.rows {
		if im.out[i].Verdict != "" {
			continue
		}
		external, phones, emails = append(external, r.ExternalID), append(phones, r.Phone), append(emails, r.Email)
		keys = append(keys, matchKeys(r.Phone, r.Email)...)
	}
	lock := ""
	if !im.o.DryRun {
		// Before any row, as everybody: see [LockMatchKeys].
		if err := LockMatchKeys(ctx, tx, keys); err != nil {
			return err
		}
		lock = "FOR NO KEY UPDATE"
	}
	rows, err := tx.Query(ctx, `
		SELECT `+importColumns+`
		FROM businesses
		WHERE (external_id = ANY($1) OR phone = ANY($2) OR lower(email) = ANY($3)) AND NOT test
		ORDER BY id
		`+lock, unempty(external), unempty(phones), unempty(emails))
	if err != nil {
		return fmt.Errorf("find the businesses of an import: %w", err)
	}
	if im.known, err = pgx.CollectRows(rows, scanImported); err != nil {
		return fmt.Errorf("find the businesses of an import: %w", err)
	}
	im.byExternal, im.byPhone, im.byEmail = map[string]*importedBusiness{}, map[string][]*importedBusiness{}, map[string][]*importedBusiness{}
	for _, e := range im.known {
		im.index(e)
	}
	return nil
}

func unempty(list []string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

func (im *importing) index(e *importedBusiness) {
	if e.b.ExternalID != "" {
		im.byExternal[e.b.ExternalID] = e
	}
	if e.b.Phone != "" {
		im.byPhone[e.b.Phone] = append(im.byPhone[e.b.Phone], e)
	}
	if e.b.Email != "" {
		im.byEmail[strings.ToLower(e.b.Email)] = append(im.byEmail[strings.ToLower(e.b.Email)], e)
	}
}

func (im *importing) unindex(e *importedBusiness) {
	same := func(o *importedBusiness) bool { return o == e }
	im.byPhone[e.b.Phone] = slices.DeleteFunc(im.byPhone[e.b.Phone], same)
	im.byEmail[strings.ToLower(e.b.Email)] = slices.DeleteFunc(im.byEmail[strings.ToLower(e.b.Email)], same)
}

// errManyBusinesses says that a row's address belongs to several businesses.
var errManyBusinesses = errors.New("several businesses have this address: give the external_id")

// find is the business that a row is of; nil: a new one.
func (im *importing) find(r NewBusiness) (*importedBusiness, error) {
	if r.ExternalID != "" {
		if e := im.byExternal[r.ExternalID]; e != nil {
			if e.erased {
				return nil, errors.New("its personal data was erased, and is not to come back by a file")
			}
			return e, nil
		}
	}
	candidates := im.byPhone[r.Phone]
	if r.Phone == "" {
		candidates = im.byEmail[r.Email]
	}
	candidates = slices.DeleteFunc(slices.Clone(candidates), func(e *importedBusiness) bool {
		// Of two external_ids each is a business of its own, whatever address they share.
		return e.erased || r.ExternalID != "" && e.b.ExternalID != ""
	})
	switch len(candidates) {
	case 0:
		return nil, nil // a new one is no error
	case 1:
		return candidates[0], nil
	}
	return nil, errManyBusinesses
}

// take brings a row into the business that it is of.
func (im *importing) take(r NewBusiness) Imported {
	e, err := im.find(r)
	if err != nil {
		return Imported{ImportRefused, err.Error()}
	}
	if e == nil {
		e = &importedBusiness{b: r, addressNew: true}
		e.b.Country = cmp.Or(r.Country, normalCountry(im.o.Country))
		im.known = append(im.known, e)
		im.index(e)
		return Imported{Verdict: ImportCreated}
	}
	im.unindex(e)
	defer im.index(e)
	changed := false
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&e.b.ExternalID, r.ExternalID},
		{&e.b.Name, r.Name},
		{&e.b.Phone, r.Phone},
		{&e.b.Email, r.Email},
		{&e.b.City, r.City},
		{&e.b.Country, r.Country},
		{&e.b.Timezone, r.Timezone},
		{&e.b.Category, r.Category},
	} {
		if f.from != "" && *f.to != f.from {
			e.addressNew = e.addressNew || f.to == &e.b.Phone || f.to == &e.b.Email
			*f.to = f.from
			changed = true
		}
	}
	if !changed {
		return Imported{Verdict: ImportUnchanged}
	}
	e.changed = true
	return Imported{Verdict: ImportUpdated}
}

func normalCountry(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }

// columns are the values of businesses, column by column.
func columns(list []*importedBusiness) (external, name, phone, email, city, country, zone, category []*string) {
	for _, e := range list {
		external, name, phone, email = append(external, orNil(e.b.ExternalID)), append(name, &e.b.Name), append(phone, orNil(e.b.Phone)), append(email, orNil(e.b.Email))
		city, country, zone, category = append(city, orNil(e.b.City)), append(country, orNil(e.b.Country)), append(zone, orNil(e.b.Timezone)), append(category, orNil(e.b.Category))
	}
	return external, name, phone, email, city, country, zone, category
}

func (im *importing) insert(ctx context.Context, tx pgx.Tx) error {
	fresh := slices.DeleteFunc(slices.Clone(im.known), func(e *importedBusiness) bool { return e.id != 0 })
	if len(fresh) == 0 {
		return nil
	}
	public := make([]string, len(fresh))
	for i := range fresh {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make an id: %w", err)
		}
		public[i] = id.String()
	}
	external, name, phone, email, city, country, zone, category := columns(fresh)
	_, err := tx.Exec(ctx, `
		INSERT INTO businesses (public_id, external_id, name, phone, email, city, country, timezone, category)
		SELECT u.public_id::uuid, u.external_id, u.name, u.phone, u.email, u.city, u.country, u.timezone, u.category
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
			AS u (public_id, external_id, name, phone, email, city, country, timezone, category)`,
		public, external, name, phone, email, city, country, zone, category)
	if err != nil {
		return fmt.Errorf("insert imported businesses: %w", err)
	}
	return nil
}

func (im *importing) update(ctx context.Context, tx pgx.Tx) error {
	changed := slices.DeleteFunc(slices.Clone(im.known), func(e *importedBusiness) bool { return e.id == 0 || !e.changed })
	if len(changed) == 0 {
		return nil
	}
	ids := make([]int64, len(changed))
	for i, e := range changed {
		ids[i] = e.id
	}
	external, name, phone, email, city, country, zone, category := columns(changed)
	_, err := tx.Exec(ctx, `
		UPDATE businesses b
		SET external_id = u.external_id, name = u.name, phone = u.phone, email = u.email, city = u.city, country = u.country,
			timezone = u.timezone, category = u.category, updated_at = now()
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
			AS u (id, external_id, name, phone, email, city, country, timezone, category)
		WHERE b.id = u.id`, ids, external, name, phone, email, city, country, zone, category)
	if err != nil {
		return fmt.Errorf("update imported businesses: %w", err)
	}
	return nil
}

// keys are those by which receipts may wait for the addresses that this import brought.
func (im *importing) keys() []string {
	var keys []string
	for _, e := range im.known {
		if e.addressNew {
			keys = append(keys, matchKeys(e.b.Phone, e.b.Email)...)
		}
	}
	return keys
}
