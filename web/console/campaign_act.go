package console

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

type launchPage struct {
	Campaign campaignView
	Estimate estimateView
	Later    bool // its time is still to come
}

// confirmLaunch shows what a launch would do, and asks for the last time.
func (c *Console) confirmLaunch(v *visit) error {
	p, err := c.readLaunch(v)
	if err != nil {
		return err
	}
	return v.render("campaign_launch", "Launch "+p.Campaign.Name, p)
}

func (c *Console) readLaunch(v *visit) (launchPage, error) {
	var p launchPage
	var err error
	if p.Campaign, err = v.readCampaign(); err != nil {
		return p, err
	}
	if p.Campaign.Status != "draft" {
		return p, refuse(http.StatusConflict, "Only a draft can be launched; this campaign is "+p.Campaign.Status+".")
	}
	p.Later = p.Campaign.SendAt != nil && p.Campaign.SendAt.After(c.opts.Clock())
	return p, v.api(http.MethodGet, "/campaigns/"+p.Campaign.ID.String()+"/estimate", nil, &p.Estimate)
}

// launchTolerance is by how many hundredths an audience may have changed since the count that was confirmed was shown.
const launchTolerance = 5

func (c *Console) launchCampaign(v *visit) error {
	p, err := c.readLaunch(v)
	if err != nil {
		return err
	}
	seen, err := strconv.ParseInt(v.form("seen"), 10, 64)
	if err != nil {
		return field("seen", "Look at the count first: open the launch from the campaign's page.")
	}
	if now := p.Estimate.Messages; max(now-seen, seen-now)*100 > seen*launchTolerance {
		return refuse(http.StatusConflict, fmt.Sprintf("The audience has changed since you looked: %s then, %s now. Look again.",
			plural(seen, "message", "messages"), plural(now, "message", "messages")))
	}
	if err := v.api(http.MethodPost, "/campaigns/"+p.Campaign.ID.String()+"/send", map[string]any{"reason": v.form("reason")}, nil); err != nil {
		return err
	}
	told := "Launched. Its audience is being frozen, then it goes out."
	if p.Later {
		told = "Scheduled. Its audience is frozen now; it goes out at its time."
	}
	return v.done("/campaigns/"+p.Campaign.ID.String(), toneGood, told)
}

// moveCampaign pauses, resumes or cancels.
func (c *Console) moveCampaign(name, told string) func(*visit) error {
	return func(v *visit) error {
		id, err := v.id("id")
		if err != nil {
			return err
		}
		if name == "cancel" && v.form("reason") == "" {
			return field("reason", "Say why: a cancelled campaign never goes on.")
		}
		if err := v.api(http.MethodPost, "/campaigns/"+id.String()+"/"+name, map[string]any{"reason": v.form("reason")}, nil); err != nil {
			return err
		}
		return v.done("/campaigns/"+id.String(), toneGood, told)
	}
}

// testCampaign sends one message to an address of the visitor's.
func (c *Console) testCampaign(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	body := map[string]any{"to": v.form("to"), "reason": v.form("reason")}
	if name := v.form("for"); name != "" {
		business, err := v.findBusiness(name)
		if err != nil {
			return err
		}
		if business == uuid.Nil {
			return field("for", "No business is found by that name.")
		}
		body["business_id"] = business
	}
	var sent struct {
		ID      uuid.UUID  `json:"id"`
		To      string     `json:"to"`
		SendsAt *time.Time `json:"sends_at"`
	}
	if err := v.apiOnce(v.form("key"), http.MethodPost, "/campaigns/"+id.String()+"/test", body, &sent); err != nil {
		return err
	}
	told, tone := "A test goes to "+sent.To+".", toneGood
	if sent.SendsAt == nil || sent.SendsAt.Sub(c.opts.Clock()) > time.Minute {
		told, tone = "A test is queued for "+sent.To+". It waits for the end of the quiet hours there.", toneWarn
	}
	return v.done("/messages/"+sent.ID.String(), tone, told)
}

// resendCampaign makes a draft to those whom a campaign failed to reach.
func (c *Console) resendCampaign(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	var made campaignView
	if err := v.apiOnce(v.form("key"), http.MethodPost, "/campaigns/"+id.String()+"/resend", map[string]any{}, &made); err != nil {
		return err
	}
	return v.done("/campaigns/"+made.ID.String(), toneGood, "A draft to those whom the campaign failed to reach. Look at it, then launch it.")
}
