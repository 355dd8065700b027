package crmapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Business is a contact in a list.
type Business struct {
	ID                 uuid.UUID `json:"id" format:"uuid"`
	Name               string    `json:"name"`
	Phone              *string   `json:"phone" doc:"E.164"`
	Email              *string   `json:"email"`
	City               *string   `json:"city"`
	Country            *string   `json:"country" doc:"ISO 3166-1 alpha-2"`
	Timezone           *string   `json:"timezone" doc:"IANA"`
	Category           *string   `json:"category"`
	ExternalID         *string   `json:"external_id"`
	Tags               []string  `json:"tags" nullable:"false" doc:"In alphabetical order"`
	ContactStatus      string    `json:"contact_status"`
	WebsiteStatus      string    `json:"website_status"`
	SubscriptionStatus string    `json:"subscription_status"`
	TicketStatus       string    `json:"ticket_status"`
	CreatedAt          time.Time `json:"created_at"`
	UpdatedAt          time.Time `json:"updated_at"`
}

// BusinessDetail is a contact with what belongs to it.
type BusinessDetail struct {
	Business
	Sites        []Site        `json:"sites" nullable:"false"`
	Suppressions []Suppression `json:"suppressions" nullable:"false" doc:"Those that stand against its phone and email now"`
}

func viewBusiness(b pgstore.Business) Business {
	return Business{
		ID: b.PublicID, Name: b.Name, Phone: orNull(b.Phone), Email: orNull(b.Email), City: orNull(b.City), Country: orNull(b.Country),
		Timezone: orNull(b.Timezone), Category: orNull(b.Category), ExternalID: orNull(b.ExternalID), Tags: b.Tags,
		ContactStatus: string(b.Contact), WebsiteStatus: string(b.Website), SubscriptionStatus: string(b.Subscription),
		TicketStatus: string(b.Ticket), CreatedAt: b.CreatedAt, UpdatedAt: b.UpdatedAt,
	}
}

// detail reads what belongs to a business.
func detail(ctx context.Context, q pgstore.Querier, b pgstore.Business) (BusinessDetail, error) {
	d := BusinessDetail{Business: viewBusiness(b)}
	var err error
	if d.Sites, err = sitesOf(ctx, q, b.ID); err != nil {
		return d, err
	}
	d.Suppressions, err = suppressionsOf(ctx, q, b.Addresses())
	return d, err
}

// business reads the business that an endpoint is about, or answers 404.
func business(ctx context.Context, q pgstore.Querier, id uuid.UUID) (pgstore.Business, error) {
	b, err := pgstore.BusinessByPublicID(ctx, q, id)
	if errors.Is(err, pgstore.ErrNoBusiness) {
		return b, notFound(targetBusiness)
	}
	return b, err
}

// wasErased refuses to write of a business that was erased: nobody asked it, and no second erasure would take it away.
func wasErased() error {
	return huma.Error409Conflict("the business was erased: who comes back is a new one")
}

const tagBusinesses = "Businesses"

func (a *API) registerBusinesses(h huma.API) {
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/crm/businesses", id: "createBusiness", tag: tagBusinesses, status: http.StatusCreated, also: http.StatusOK,
		summary: "Create a business",
		description: "A phone is brought to E.164 by the country; without a country it needs its + and country code. " +
			"An external_id that is known already answers 200 with that business, unchanged.",
	}, a.createBusiness)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/crm/businesses", id: "listBusinesses", tag: tagBusinesses, summary: "List and search businesses",
	}, a.listBusinesses)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/crm/businesses/{id}", id: "getBusiness", tag: tagBusinesses,
		summary: "One business, with sites and suppressions",
	}, a.getBusiness)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPatch, path: "/crm/businesses/{id}", id: "updateBusiness", tag: tagBusinesses, summary: "Change a business",
		description: "Members that are absent stay, null clears; what changes nothing moves no updated_at and is not logged. Statuses follow from events and cannot be written.",
	}, a.updateBusiness)
}

type createBusinessInput struct {
	Body struct {
		Name       string  `json:"name" minLength:"1" maxLength:"200"`
		Phone      *string `json:"phone,omitempty" nullable:"true" maxLength:"40" example:"5555 1234"`
		Email      *string `json:"email,omitempty" nullable:"true" maxLength:"254"`
		City       *string `json:"city,omitempty" nullable:"true" maxLength:"120"`
		Country    *string `json:"country,omitempty" nullable:"true" example:"GT" doc:"ISO 3166-1 alpha-2"`
		Timezone   *string `json:"timezone,omitempty" nullable:"true" maxLength:"64" example:"America/Guatemala" doc:"IANA"`
		Category   *string `json:"category,omitempty" nullable:"true" maxLength:"120"`
		ExternalID *string `json:"external_id,omitempty" nullable:"true" maxLength:"255" doc:"Your own id: repeating it finds the business again"`

		Tags []string `json:"tags,omitempty" maxItems:"50" doc:"Your own words, kept in lower case: 1 to 50 characters, no comma"`
	}
}

func (a *API) createBusiness(ctx context.Context, in *createBusinessInput) (*answer[BusinessDetail], error) {
	tags, err := normalTags(in.Body.Tags)
	if err != nil {
		return nil, err
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[BusinessDetail], error) {
		b := in.Body
		id, created, err := pgstore.UpsertBusiness(ctx, u, pgstore.NewBusiness{
			ExternalID: orZero(b.ExternalID), Name: b.Name, Phone: orZero(b.Phone), Email: orZero(b.Email), City: orZero(b.City),
			Country: orZero(b.Country), Timezone: orZero(b.Timezone), Category: orZero(b.Category),
		})
		if err != nil {
			return nil, err
		}
		if created && len(tags) > 0 {
			if err := pgstore.SetTags(ctx, u, id, tags); err != nil {
				return nil, err
			}
		}
		stored, err := pgstore.BusinessByID(ctx, u, id)
		if err != nil {
			return nil, err
		}
		out := &answer[BusinessDetail]{Status: http.StatusOK, Location: Prefix + "/crm/businesses/" + stored.PublicID.String()}
		if created {
			out.Status = http.StatusCreated
			if err := u.requeue(ctx, stored.MatchKeys()); err != nil {
				return nil, err
			}
			if _, err := u.record(ctx, "business.create", targetBusiness, stored.PublicID.String(), "", nil); err != nil {
				return nil, err
			}
		}
		out.Body, err = detail(ctx, u, stored)
		return out, err
	})
}

func (a *API) getBusiness(ctx context.Context, in *PathID) (*struct{ Body BusinessDetail }, error) {
	out := &struct{ Body BusinessDetail }{}
	err := a.read(ctx, func(tx pgx.Tx) error {
		b, err := business(ctx, tx, in.ID)
		if err != nil {
			return err
		}
		out.Body, err = detail(ctx, tx, b)
		return err
	})
	return out, err
}

// read runs several queries on one snapshot.
func (a *API) read(ctx context.Context, fn func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, a.opts.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, fn)
}

type updateBusinessInput struct {
	PathID
	Body struct {
		Name       change `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Phone      change `json:"phone,omitempty" maxLength:"40"`
		Email      change `json:"email,omitempty" maxLength:"254"`
		City       change `json:"city,omitempty" maxLength:"120"`
		Country    change `json:"country,omitempty"`
		Timezone   change `json:"timezone,omitempty" maxLength:"64"`
		Category   change `json:"category,omitempty" maxLength:"120"`
		ExternalID change `json:"external_id,omitempty" maxLength:"255"`

		Tags *[]string `json:"tags,omitempty" nullable:"true" maxItems:"50" doc:"All of them, in place of those that it has; an empty list clears"`
	}
}

func (a *API) updateBusiness(ctx context.Context, in *updateBusinessInput) (*answer[BusinessDetail], error) {
	var tags []string
	if in.Body.Tags != nil {
		var err error
		if tags, err = normalTags(*in.Body.Tags); err != nil {
			return nil, err
		}
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[BusinessDetail], error) {
		known, err := business(ctx, u, in.ID)
		if err != nil {
			return nil, err
		}
		b := in.Body
		before, after, err := pgstore.UpdateBusiness(ctx, u, known.ID, pgstore.BusinessChanges{
			ExternalID: b.ExternalID.value, Name: b.Name.value, Phone: b.Phone.value, Email: b.Email.value, City: b.City.value,
			Country: b.Country.value, Timezone: b.Timezone.value, Category: b.Category.value,
		})
		if errors.Is(err, pgstore.ErrExternalIDTaken) {
			return nil, huma.Error409Conflict("body.external_id: another business has it",
				&huma.ErrorDetail{Location: "body.external_id", Message: "another business has it"})
		}
		if errors.Is(err, pgstore.ErrErased) {
			return nil, wasErased()
		}
		if err != nil {
			return nil, err
		}
		if in.Body.Tags != nil {
			if err := pgstore.SetTags(ctx, u, after.ID, tags); err != nil {
				return nil, err
			}
			if !slices.Equal(before.Tags, tags) {
				if after, err = pgstore.BusinessByID(ctx, u, after.ID); err != nil {
					return nil, err
				}
			}
		}
		if after.Phone != before.Phone || after.Email != before.Email {
			if err := u.requeue(ctx, after.MatchKeys()); err != nil {
				return nil, err
			}
		}
		// Which fields, not their values: the log outlives an erasure.
		if fields := changedFields(before, after); len(fields) > 0 {
			if _, err := u.record(ctx, "business.update", targetBusiness, after.PublicID.String(), "", map[string]any{"fields": fields}); err != nil {
				return nil, err
			}
		}
		out := &answer[BusinessDetail]{Status: http.StatusOK}
		out.Body, err = detail(ctx, u, after)
		return out, err
	})
}

func changedFields(before, after pgstore.Business) []string {
	fields := []string{}
	for _, f := range []struct{ name, before, after string }{
		{"name", before.Name, after.Name},
		{"phone", before.Phone, after.Phone},
		{"email", before.Email, after.Email},
		{"city", before.City, after.City},
		{"country", before.Country, after.Country},
		{"timezone", before.Timezone, after.Timezone},
		{"category", before.Category, after.Category},
		{"external_id", before.ExternalID, after.ExternalID},
	} {
		if f.before != f.after {
			fields = append(fields, f.name)
		}
	}
	if !slices.Equal(before.Tags, after.Tags) {
		fields = append(fields, "tags")
	}
	return fields
}

// normalTags brings tags to the form in which they are stored, each once, in order.
func normalTags(raw []string) ([]string, error) {
	tags := make([]string, 0, len(raw))
	for i, r := range raw {
		t, err := pgstore.NormalizeTag(r)
		if err != nil {
			return nil, invalid(fmt.Sprintf("body.tags[%d]", i), err.Error())
		}
		tags = append(tags, t)
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// change is a member of a PATCH: nil when absent, a pointer to "" for null.
type change struct{ value *string }

// UnmarshalJSON is called for null, too.
func (c *change) UnmarshalJSON(data []byte) error {
	var v *string
	if err := unmarshalString(data, &v); err != nil {
		return err
	}
	if v == nil {
		v = new("")
	}
	c.value = v
	return nil
}

// Schema says that it is a string or null.
func (change) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Nullable: true}
}

// businessIDs finds the inner ids of businesses; what it does not find is missing from the map.
func businessIDs(ctx context.Context, q pgstore.Querier, public []uuid.UUID) (map[uuid.UUID]int64, error) {
	rows, err := q.Query(ctx, `
		SELECT public_id, id
		FROM businesses
		WHERE public_id = ANY($1::text[]::uuid[])`, texts(public))
	if err != nil {
		return nil, fmt.Errorf("find businesses: %w", err)
	}
	found := make(map[uuid.UUID]int64, len(public))
	var p uuid.UUID
	var id int64
	if _, err := pgx.ForEachRow(rows, []any{&p, &id}, func() error { found[p] = id; return nil }); err != nil {
		return nil, fmt.Errorf("find businesses: %w", err)
	}
	return found, nil
}

// texts makes an array that every way of talking to PostgreSQL can send.
func texts(ids []uuid.UUID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}
