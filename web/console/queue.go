package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/jobs/jobadmin"
	"onward/web/apitoken"
)

func (c *Console) queueRoutes() []Route {
	return []Route{
		{http.MethodGet, "/queue", apitoken.Viewer, c.queue},
		{http.MethodGet, "/queue/failures", apitoken.Viewer, c.queueFailures},
		{http.MethodGet, "/queue/queues", apitoken.Viewer, c.queueStates},
		{http.MethodPost, "/queue/queues/{name}/pause", apitoken.Operator, c.pauseQueue},
		{http.MethodPost, "/queue/queues/{name}/resume", apitoken.Operator, c.resumeQueue},
		{http.MethodGet, "/queue/jobs", apitoken.Viewer, c.jobList},
		{http.MethodGet, "/queue/jobs/rows", apitoken.Viewer, c.jobRows},
		{http.MethodGet, "/queue/jobs/{id}", apitoken.Viewer, wholePage(c.readJob, "queue_job", jobPage.title)},
		{http.MethodGet, "/queue/jobs/{id}/now", apitoken.Viewer, livePart(c.readJob, "queue_job", "now")},
		{http.MethodGet, "/queue/act", apitoken.Operator, c.tryJobs},
		{http.MethodPost, "/queue/act", apitoken.Operator, c.actOnJobs},
		{http.MethodGet, "/queue/acts/{id}", apitoken.Viewer, wholePage(c.readAct, "queue_progress", func(actProgress) string { return "Act on jobs" })},
		{http.MethodGet, "/queue/acts/{id}/progress", apitoken.Viewer, livePart(c.readAct, "queue_progress", "progress")},
	}
}

// queuePage is what fails, and how the queues stand.
type queuePage struct {
	Failures panel[failuresPart]
	Queues   panel[queuesPart]
	Only     string // a fingerprint: that group alone
}

// queuesPart is how the queues stand.
type queuesPart struct {
	V    *visit // who looks: what they may do
	List []jobadmin.Queue
}

// failuresPart are the groups of failures.
type failuresPart struct {
	V      *visit // who looks: what they may do
	Groups []failureGroup
	More   bool
	Only   string
}

type failureGroup struct {
	jobadmin.Group
	Kinds, States []tallied // the most frequent first
	Waits         bool      // some wait for another try: they can be cancelled
}

type tallied struct {
	Name string
	N    int
}

func talliedOf(m map[string]int) []tallied {
	list := make([]tallied, 0, len(m))
	for name, n := range m {
		list = append(list, tallied{name, n})
	}
	slices.SortFunc(list, func(a, b tallied) int { return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Name, b.Name)) })
	return list
}

func (c *Console) queue(v *visit) error {
	only := v.query("fingerprint")
	return v.render("queue", "Jobs", queuePage{Failures: c.readFailures(v, only), Queues: c.readQueues(v), Only: only})
}

func (c *Console) queueFailures(v *visit) error {
	return v.fragment("queue", "failures", c.readFailures(v, v.query("fingerprint")))
}

func (c *Console) queueStates(v *visit) error { return v.fragment("queue", "queues", c.readQueues(v)) }

// readFailures reads the groups that home shows as well: the same moment, the same numbers.
func (c *Console) readFailures(v *visit, only string) panel[failuresPart] {
	return load(v, "failures", func(ctx context.Context, tx pgx.Tx) (failuresPart, error) {
		out := failuresPart{V: v, Only: only}
		groups, err := c.failures.read(ctx, tx, c.opts.Clock())
		if err != nil {
			return out, err
		}
		n := 0
		for _, g := range groups {
			n += g.Count
			if only != "" && g.Fingerprint != only {
				continue
			}
			out.Groups = append(out.Groups, failureGroup{Group: g, Kinds: talliedOf(g.Kinds), States: talliedOf(g.States), Waits: g.States["retryable"] > 0})
		}
		out.More = n >= jobadmin.MaxGrouped
		return out, nil
	})
}

func (c *Console) readQueues(v *visit) panel[queuesPart] {
	return load(v, "queues", func(ctx context.Context, tx pgx.Tx) (queuesPart, error) {
		list, err := jobadmin.Queues(ctx, tx, jobs.Queues())
		return queuesPart{V: v, List: list}, err
	})
}

func (c *Console) pauseQueue(v *visit) error {
	return v.changeQueue("pause", "is paused: what runs goes on, nothing else begins")
}

func (c *Console) resumeQueue(v *visit) error { return v.changeQueue("resume", "is worked again") }

func (v *visit) changeQueue(verb, done string) error {
	name := v.param("name")
	if v.form("reason") == "" {
		return field("reason", "Say why: it goes to the operators' log.")
	}
	if err := v.api(http.MethodPost, "/queues/"+url.PathEscape(name)+"/"+verb, map[string]any{"reason": v.form("reason")}, nil); err != nil {
		return err
	}
	return v.done("/queue", toneGood, "Queue "+name+" "+done+".")
}

// jobFilters are the values of an address that select jobs, as the API names them.
func jobFilters() []string {
	return []string{"kind", "state", "queue", "error", "fingerprint", "within"}
}

type jobsPage struct {
	Filter url.Values
	Kinds  []choice
	States []choice
	Queues []choice
	Spans  []choice
	Live   string
	Rows   panel[jobRowsPart]
	Acts   string // the filter for an act; "" where it would match every job
}

type jobRowsPart struct {
	Items       []jobadmin.Job
	Next, First string
	Filtered    bool
}

// jobFilter reads the filter of an address, or of a form.
func (c *Console) jobFilter(f url.Values) (jobadmin.Filter, error) {
	some := func(name string) []string {
		if f.Get(name) == "" {
			return nil
		}
		return strings.Split(f.Get(name), ",")
	}
	out := jobadmin.Filter{Kinds: some("kind"), States: some("state"), Queues: some("queue"), Error: f.Get("error"), Fingerprint: f.Get("fingerprint")}
	if d, err := time.ParseDuration(f.Get("within")); err == nil && d > 0 {
		out.Since = c.opts.Clock().Add(-d).Truncate(time.Second)
	}
	if err := out.Validate(); err != nil {
		if wrong, ok := errors.AsType[*jobadmin.FieldError](err); ok {
			return out, field(wrong.Field, sentence(wrong.Error()))
		}
		return out, err
	}
	return out, nil
}

func (c *Console) jobList(v *visit) error {
	f := selection(v.r, jobFilters())
	p := jobsPage{
		Filter: f, Kinds: choices(jobs.Kinds(), f.Get("kind")), States: choices(jobadmin.States(), f.Get("state")),
		Queues: choices(jobs.Queues(), f.Get("queue")), Spans: chosen(spans(), f.Get("within")),
		Live: "/queue/jobs/rows" + withQuery(f, "before", v.query("before")), Rows: c.readJobs(v, f),
	}
	if len(f) > 0 {
		p.Acts = f.Encode()
	}
	if isPartial(v.r) {
		v.w.Header().Set("Hx-Push-Url", "/queue/jobs"+withQuery(f, "", ""))
		return v.fragment("queue_jobs", "list", p)
	}
	return v.render("queue_jobs", "All jobs", p)
}

func (c *Console) jobRows(v *visit) error {
	return v.fragment("queue_jobs", "rows", c.readJobs(v, selection(v.r, jobFilters())))
}

func (c *Console) readJobs(v *visit, f url.Values) panel[jobRowsPart] {
	filter, err := c.jobFilter(f)
	if err != nil {
		return panel[jobRowsPart]{Error: err.Error()}
	}
	before, err := strconv.ParseInt(v.query("before"), 10, 64)
	if err != nil || before < 0 {
		before = 0
	}
	p := load(v, "jobs", func(ctx context.Context, tx pgx.Tx) (jobRowsPart, error) {
		list, err := jobadmin.List(ctx, tx, filter, before, pageSize+1)
		out := jobRowsPart{Items: list, Filtered: len(f) > 0}
		if len(list) > pageSize {
			out.Items = list[:pageSize]
			out.Next = "/queue/jobs" + withQuery(f, "before", strconv.FormatInt(list[pageSize-1].ID, 10))
		}
		return out, err
	})
	if before > 0 {
		p.Data.First = "/queue/jobs" + withQuery(f, "", "")
	}
	return p
}

// jobPage is one job.
type jobPage struct {
	Job      jobadmin.Detail
	Args     string // indented
	Metadata string
	Receipt  *uuid.UUID
	Business *jobBusiness
	Campaign *jobBusiness
	Action   *jobAction
	Retry    bool // may be put back
	Cancel   bool
	Over     time.Duration // from its creation to its end, or until now
}

type jobBusiness struct {
	ID   uuid.UUID
	Name string
}

type jobAction struct {
	ID                    int64
	Actor, Action, Reason string
	At                    time.Time
}

func (p jobPage) title() string { return p.Job.Kind + " " + strconv.FormatInt(p.Job.ID, 10) }

func (c *Console) readJob(v *visit) (jobPage, error) {
	var p jobPage
	id, err := strconv.ParseInt(v.param("id"), 10, 64)
	if err != nil {
		return p, errNotFound
	}
	err = c.read(v.ctx(), func(tx pgx.Tx) error {
		if p.Job, err = jobadmin.Get(v.ctx(), tx, id); err != nil {
			return err
		}
		return p.follow(v.ctx(), tx)
	})
	if errors.Is(err, jobadmin.ErrNotFound) {
		return p, refuse(http.StatusNotFound, "There is no such job: it never was, or it is past its retention.")
	}
	if err != nil {
		return p, err
	}
	p.Job.AttemptedBy = slices.Compact(p.Job.AttemptedBy) // the same process, attempt after attempt
	p.Args, p.Metadata = indented(p.Job.Args), indented(p.Job.Metadata)
	switch p.Job.State {
	case "completed", "cancelled", "discarded":
		p.Retry = true
	case "retryable", "scheduled":
		p.Retry, p.Cancel = true, true
	default:
		p.Cancel = true
	}
	end := c.opts.Clock()
	if p.Job.FinalizedAt != nil {
		end = *p.Job.FinalizedAt
	}
	p.Over = end.Sub(p.Job.CreatedAt)
	return p, nil
}

func indented(raw []byte) string {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return string(raw)
	}
	out, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return string(raw)
	}
	return string(out)
}

// follow finds what a job is about by its arguments.
func (p *jobPage) follow(ctx context.Context, tx pgx.Tx) error {
	var args struct {
		ReceiptID  string `json:"receipt_id"`
		MessageID  int64  `json:"message_id"`
		CampaignID int64  `json:"campaign_id"`
	}
	_ = json.Unmarshal(p.Job.Args, &args) // another version's may look otherwise: then there is nothing to follow
	one := func(into **jobBusiness, sql string, arg any) error {
		var b jobBusiness
		switch err := tx.QueryRow(ctx, sql, arg).Scan(&b.ID, &b.Name); {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return fmt.Errorf("read what a job is about: %w", err)
		}
		*into = &b
		return nil
	}
	if id, err := uuid.Parse(args.ReceiptID); err == nil {
		p.Receipt = &id
		if err := one(&p.Business, `
			SELECT b.public_id, b.name
			FROM facts f
			JOIN businesses b ON b.id = f.business_id
			WHERE f.receipt_id = $1
			ORDER BY f.id
			LIMIT 1`, id); err != nil {
			return err
		}
	}
	if args.MessageID != 0 {
		if err := one(&p.Business, `
			SELECT b.public_id, b.name
			FROM messages m
			JOIN businesses b ON b.id = m.business_id
			WHERE m.id = $1`, args.MessageID); err != nil {
			return err
		}
		if p.Job.Message == "" { // reconciliations name one as well
			err := tx.QueryRow(ctx, `SELECT public_id::text, state FROM messages WHERE id = $1`, args.MessageID).Scan(&p.Job.Message, &p.Job.MessageState)
			if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("read what a job is about: %w", err)
			}
		}
	}
	if args.CampaignID != 0 {
		if err := one(&p.Campaign, `SELECT public_id, name FROM campaigns WHERE id = $1`, args.CampaignID); err != nil {
			return err
		}
	}
	if p.Job.ActionID == 0 {
		return nil
	}
	var a jobAction
	err := tx.QueryRow(ctx, `SELECT id, actor, action, reason, at FROM operator_actions WHERE id = $1`, p.Job.ActionID).
		Scan(&a.ID, &a.Actor, &a.Action, &a.Reason, &a.At)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read the last act on a job: %w", err)
	}
	if err == nil {
		p.Action = &a
	}
	return nil
}
