package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// businessField is a field of a business as the form of its page has it.
type businessField struct {
	Name, Label, Value, Hint string
	Max                      int
}

// Fields are what an operator may change. Statuses are not among them: they follow from facts.
func (b apiBusiness) Fields() []businessField {
	return []businessField{
		{Name: "name", Label: "Name", Value: b.Name, Max: 200},
		{Name: "phone", Label: "Phone", Value: b.Phone, Max: 40, Hint: "With + and country code, or as the country writes it."},
		{Name: "email", Label: "Email", Value: b.Email, Max: 254},
		{Name: "city", Label: "City", Value: b.City, Max: 120},
		{Name: "country", Label: "Country", Value: b.Country, Max: 2, Hint: "Two letters: GT"},
		{Name: "timezone", Label: "Time zone", Value: b.Timezone, Max: 64, Hint: "America/Guatemala: quiet hours go by it."},
		{Name: "category", Label: "Category", Value: b.Category, Max: 120},
		{Name: "external_id", Label: "External id", Value: b.ExternalID, Max: 255},
		{Name: "tags", Label: "Tags", Value: strings.Join(b.Tags, ", "), Max: 2600, Hint: "With commas between them."},
	}
}

// updateBusiness changes the fields that the form changed, and no other: what somebody else changed meanwhile stays. A
// field that both changed is refused, with what it holds now.
func (c *Console) updateBusiness(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	body, err := c.businessChanges(v, id)
	if err != nil {
		return err
	}
	to := "/businesses/" + id.String()
	if len(body) == 0 {
		return v.done(to, toneInfo, "Nothing was changed.")
	}
	if err := v.api(http.MethodPatch, "/crm/businesses/"+id.String(), body, nil); err != nil {
		return inForm(err)
	}
	return v.done(to, toneGood, "Changed.")
}

func (c *Console) businessChanges(v *visit, id uuid.UUID) (map[string]any, error) {
	var now apiBusiness
	if err := v.api(http.MethodGet, "/crm/businesses/"+id.String(), nil, &now); err != nil {
		return nil, err
	}
	body := map[string]any{}
	for _, f := range now.Fields() {
		value, was := v.form(f.Name), v.form("was_"+f.Name)
		if value == was || !v.r.PostForm.Has(f.Name) {
			continue
		}
		if f.Value != was && f.Value != value {
			return nil, field(f.Name, f.Label+" was changed by somebody else meanwhile, to “"+f.Value+"”. Load the page again.")
		}
		switch {
		case f.Name == "tags":
			body[f.Name] = tagsOf(value)
		case value == "":
			body[f.Name] = nil
		default:
			body[f.Name] = value
		}
	}
	return body, nil
}

// tagsOf reads tags with commas between them.
func tagsOf(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return slices.DeleteFunc(list, func(t string) bool { return t == "" })
}
