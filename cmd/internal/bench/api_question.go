package bench

import (
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"onward/lifecycle"
	"onward/lifecycle/pgstore/analytics"
)

// apiQuestion is one kind of request that operators wait for.
type apiQuestion struct {
	name string
	aim  time.Duration
	page bool // a page of the console, asked for with the session's cookie
	path func(*rand.Rand) string
}

// apiPath is a path of the API with parameters, given by turns as name and value; without a value they are left out.
func apiPath(path string, pairs ...string) string { return "/api/v1" + withQuery(path, pairs...) }

func withQuery(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// questions collects them; those about something that the data does not have are left out.
type questions struct {
	data *apiSample
	list []apiQuestion
}

func (c *questions) add(name string, path func(*rand.Rand) string) {
	c.list = append(c.list, apiQuestion{name: name, aim: listAim, path: path})
}

// businesses asks for the list with the parameters that a draw makes.
func (c *questions) businesses(name string, pairs func(*rand.Rand) []string) {
	c.add("businesses: "+name, func(r *rand.Rand) string { return apiPath("/crm/businesses", pairs(r)...) })
}

// fixed asks for the same each time.
func (c *questions) fixed(name, path string) {
	c.add(name, func(*rand.Rand) string { return path })
}

// about asks for one of the things with an id.
func (c *questions) about(name string, ids []string, path func(id string) string) {
	if len(ids) > 0 {
		c.add(name, func(r *rand.Rand) string { return path(pick(r, ids)) })
	}
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func apiQuestions(data *apiSample) []apiQuestion {
	c := &questions{data: data}
	if len(data.businesses) > 0 {
		c.lists()
		c.searches()
		c.combinations()
	}
	c.things()
	c.analytics()
	from := len(c.list)
	c.pages()
	for i := range c.list[from:] {
		c.list[from+i].page = true
	}
	for i := range c.list {
		if strings.Contains(c.list[i].name, "analytics") {
			c.list[i].aim = analyticsAim
		}
	}
	return c.list
}

func businessOrders() []string {
	return []string{"-created_at", "created_at", "name", "-name", "updated_at", "-updated_at"}
}

// lists are those of businesses by one filter, in each order.
func (c *questions) lists() {
	for _, order := range businessOrders() {
		c.businesses("everyone, sort "+order, func(*rand.Rand) []string { return []string{"sort", order} })
	}
	if deep := c.data.deep; len(deep) > 0 {
		c.businesses("everyone, a page further down", func(r *rand.Rand) []string { return []string{"cursor", pick(r, deep)} })
	}
	for _, axis := range []lifecycle.Axis{lifecycle.AxisContact, lifecycle.AxisWebsite, lifecycle.AxisSubscription, lifecycle.AxisTicket} {
		c.businesses(string(axis)+"_status, any order", func(r *rand.Rand) []string {
			return []string{string(axis) + "_status", string(pick(r, lifecycle.Statuses(axis))), "sort", pick(r, businessOrders())}
		})
	}
	c.businesses("city, any order", func(r *rand.Rand) []string { return []string{"city", c.one(r).city, "sort", pick(r, businessOrders())} })
	c.businesses("country, any order", func(r *rand.Rand) []string {
		return []string{"country", c.one(r).country, "sort", pick(r, businessOrders())}
	})
	c.businesses("category, any order", func(r *rand.Rand) []string {
		return []string{"category", c.one(r).category, "sort", pick(r, businessOrders())}
	})
	if len(c.data.tags) > 0 {
		c.businesses("tag, any order", func(r *rand.Rand) []string {
			return []string{"tag", pick(r, c.data.tags), "sort", pick(r, businessOrders())}
		})
	}
	c.businesses("created within a day, any order", func(r *rand.Rand) []string {
		at := c.one(r).createdAt
		return []string{"created_after", stamp(at.Add(-12 * time.Hour)), "created_before", stamp(at.Add(12 * time.Hour)), "sort", pick(r, businessOrders())}
	})
	c.businesses("updated_after, any order", func(r *rand.Rand) []string {
		return []string{"updated_after", stamp(c.one(r).updatedAt), "sort", pick(r, businessOrders())}
	})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (c *questions) one(r *rand.Rand) sampledBusiness { return pick(r, c.data.businesses) }

// searches are by part of what a business is found by.
func (c *questions) searches() {
	search := func(name string, text func(*rand.Rand) string) {
		c.businesses("q, "+name, func(r *rand.Rand) []string { return []string{"q", text(r)} })
	}
	search("a whole name", func(r *rand.Rand) string { return c.one(r).name })
	c.businesses("q, a word of a name, any order", func(r *rand.Rand) []string {
		return []string{"q", pick(r, strings.Fields(c.one(r).name)), "sort", pick(r, businessOrders())}
	})
	search("part of a word", func(r *rand.Rand) string {
		word := []rune(pick(r, strings.Fields(c.one(r).name)))
		if len(word) <= 4 {
			return string(word)
		}
		at := r.IntN(len(word) - 3)
		return string(word[at : at+4])
	})
	search("one letter", func(r *rand.Rand) string { return string([]rune(c.one(r).name)[:1]) })
	search("two letters", func(r *rand.Rand) string { return string([]rune(c.one(r).name + "x")[:2]) })
	search("a phone with spaces", func(r *rand.Rand) string { return grouped(c.one(r).phone, " ") })
	search("a phone from abroad, with dashes", func(r *rand.Rand) string {
		return "00" + grouped(strings.TrimPrefix(c.one(r).phone, "+"), "-")
	})
	search("part of a phone", func(r *rand.Rand) string {
		p := c.one(r).phone
		return p[max(0, len(p)-6):]
	})
	search("an email", func(r *rand.Rand) string { return c.one(r).email })
	search("a city", func(r *rand.Rand) string { return c.one(r).city })
	search("nothing matches", func(r *rand.Rand) string { return "zqx" + string(rune('a'+r.IntN(26))) })
}

// grouped writes a number as people do: three digits, then something between.
func grouped(phone, between string) string {
	var parts []string
	for len(phone) > 4 {
		parts, phone = append(parts, phone[:3]), phone[3:]
	}
	return strings.Join(append(parts, phone), between)
}

// combinations are filters of several parts.
func (c *questions) combinations() {
	status := func(r *rand.Rand, axis lifecycle.Axis) string { return string(pick(r, lifecycle.Statuses(axis))) }
	c.businesses("two statuses and a city, any order", func(r *rand.Rand) []string {
		return []string{
			"contact_status", status(r, lifecycle.AxisContact), "website_status", status(r, lifecycle.AxisWebsite), "city", c.one(r).city,
			"sort", pick(r, businessOrders()),
		}
	})
	c.businesses("q, status and category, any order", func(r *rand.Rand) []string {
		return []string{
			"q", pick(r, strings.Fields(c.one(r).name)), "contact_status", status(r, lifecycle.AxisContact), "category", c.one(r).category,
			"sort", pick(r, businessOrders()),
		}
	})
	c.businesses("category, country and created since, any order", func(r *rand.Rand) []string {
		return []string{"category", c.one(r).category, "country", c.one(r).country, "created_after", stamp(c.one(r).createdAt), "sort", pick(r, businessOrders())}
	})
	c.businesses("frequent apart and never together, any order", func(r *rand.Rand) []string {
		return []string{"contact_status", "pending", "website_status", "sold", "sort", pick(r, businessOrders())}
	})
	c.businesses("a city in another's country, any order", func(r *rand.Rand) []string {
		return []string{"city", c.one(r).city, "country", c.one(r).country, "sort", pick(r, businessOrders())}
	})
}

// things are single ones, and the other lists.
func (c *questions) things() {
	d := c.data
	ids := make([]string, len(d.businesses))
	for i, b := range d.businesses {
		ids[i] = b.id
	}
	c.about("business", ids, func(id string) string { return apiPath("/crm/businesses/" + id) })
	c.about("business: timeline", ids, func(id string) string { return apiPath("/crm/businesses/" + id + "/timeline") })
	c.fixed("messages", apiPath("/messages"))
	c.add("messages: by state", func(r *rand.Rand) string {
		return apiPath("/messages", "state", string(pick(r, lifecycle.MessageStates())))
	})
	c.about("messages: of a business", ids, func(id string) string { return apiPath("/messages", "business_id", id) })
	c.about("messages: of a campaign", d.campaigns, func(id string) string { return apiPath("/messages", "campaign_id", id) })
	c.about("messages: of a campaign, failed", d.campaigns, func(id string) string {
		return apiPath("/messages", "campaign_id", id, "state", "failed,undelivered")
	})
	c.about("message", d.messages, func(id string) string { return apiPath("/messages/" + id) })
	c.fixed("campaigns", apiPath("/campaigns"))
	c.about("campaign", d.campaigns, func(id string) string { return apiPath("/campaigns/" + id) })
	c.fixed("replies", apiPath("/replies"))
	c.fixed("webhook events", apiPath("/webhook-events"))
	c.add("webhook events: by outcome", func(r *rand.Rand) string {
		return apiPath("/webhook-events", "outcome", pick(r, []string{"applied", "no_change", "ignored", "unmatched", "failed", "pending"}))
	})
	c.add("webhook events: by provider", func(r *rand.Rand) string {
		return apiPath("/webhook-events", "provider", pick(r, []string{"twilio", "recurrente", "resend"}))
	})
	c.about("webhook event", d.receipts, func(id string) string { return apiPath("/webhook-events/" + id) })
	c.fixed("jobs", apiPath("/jobs"))
	c.fixed("jobs: discarded", apiPath("/jobs", "state", "discarded"))
	c.fixed("jobs: groups of failures", apiPath("/jobs/groups"))
	c.fixed("queues", apiPath("/queues"))
	c.fixed("suppressions", apiPath("/suppressions"))
}

func (c *questions) analytics() {
	zone := []string{"timezone", "America/Guatemala"}
	for _, by := range []analytics.FunnelBy{analytics.FunnelByWeek, analytics.FunnelByChannel, analytics.FunnelByCampaign, analytics.FunnelByCountry} {
		c.fixed("analytics: funnel by "+string(by), apiPath("/analytics/funnel", append(zone, "by", string(by))...))
	}
	for _, model := range []analytics.Model{analytics.LastTouch, analytics.FirstTouch} {
		c.fixed("analytics: campaigns, "+string(model)+" touch", apiPath("/analytics/campaigns", "model", string(model)))
	}
	for _, by := range []analytics.FunnelBy{analytics.FunnelByWeek, analytics.FunnelByChannel, analytics.FunnelByCampaign} {
		c.fixed("analytics: revenue by "+string(by), apiPath("/analytics/revenue", append(zone, "by", string(by))...))
	}
	c.fixed("analytics: at risk", apiPath("/analytics/at-risk"))
	c.fixed("analytics: at risk, silent", apiPath("/analytics/at-risk", "reason", "silent", "silent_days", "7"))
}

// pages are the console's, and the parts that they fetch by themselves.
func (c *questions) pages() {
	d := c.data
	c.fixed("page: home", "/")
	for _, part := range []string{"needs", "pulse", "funnel", "latest"} {
		name := "page: home, " + part
		if part == "funnel" {
			name += " (analytics)"
		}
		c.fixed(name, "/home/"+part)
	}
	c.fixed("page: businesses", "/businesses")
	if len(d.businesses) > 0 {
		ids := make([]string, len(d.businesses))
		for i, b := range d.businesses {
			ids[i] = b.id
		}
		c.add("page: businesses, as somebody types a name", func(r *rand.Rand) string {
			name := []rune(c.one(r).name)
			return withQuery("/businesses/list", "q", string(name[:1+r.IntN(len(name))]))
		})
		c.add("page: businesses, by status", func(r *rand.Rand) string {
			return withQuery("/businesses", "contact_status", string(pick(r, lifecycle.Statuses(lifecycle.AxisContact))), "sort", pick(r, businessOrders()))
		})
		c.about("page: a business", ids, func(id string) string { return "/businesses/" + id })
	}
	c.fixed("page: campaigns", "/campaigns")
	c.about("page: a campaign", d.campaigns, func(id string) string { return "/campaigns/" + id })
	c.fixed("page: messages", "/messages")
	c.about("page: a message", d.messages, func(id string) string { return "/messages/" + id })
	c.fixed("page: replies", "/replies")
	c.about("page: a reply", d.replies, func(id string) string { return "/replies/" + id })
	c.fixed("page: webhooks", "/webhooks")
	c.add("page: webhooks, by outcome", func(r *rand.Rand) string {
		return withQuery("/webhooks/list", "outcome", pick(r, []string{"applied", "unmatched", "failed", "pending"}))
	})
	c.about("page: a webhook", d.receipts, func(id string) string { return "/webhooks/" + id })
	c.fixed("page: jobs", "/queue")
	c.fixed("page: jobs, failures", "/queue/failures")
	c.fixed("page: jobs, all", "/queue/jobs")
	c.fixed("page: analytics, funnel", "/analytics")
	c.fixed("page: analytics, campaigns", "/analytics/campaigns")
	c.fixed("page: analytics, revenue", "/analytics/revenue")
	c.fixed("page: analytics, at risk", "/analytics/at-risk")
	c.fixed("page: settings", "/settings")
	c.fixed("page: suppressions", "/settings/suppressions")
}
