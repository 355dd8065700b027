// Package console is the operators' console: pages on the private listener, for people with a token. It reads through
// lifecycle/pgstore and jobs/jobadmin, and it acts through the API, in process, as the token of the visitor's session:
// whatever a page does, a script can do, with the same checks and the same entry in the operators' log.
//
// It imports lifecycle, lifecycle/pgstore, jobs, the small packages beside it, jobs/jobadmin, web/apitoken and web/csvtable.
//
// # How to add a page
//
//  1. A file of its own, say reply.go, with the routes and what they need:
//
//     func (c *Console) replyRoutes() []Route {
//     return []Route{
//     {http.MethodGet, "/replies", apitoken.Viewer, c.replies},
//     {http.MethodGet, "/replies/list", apitoken.Viewer, c.replyList},
//     {http.MethodPost, "/replies/{id}/answer", apitoken.Operator, c.answerReply},
//     }
//     }
//
//     Add c.replyRoutes() to the table in New. Its entry in the navigation (navigation, in console.go) shows as soon as
//     its path is in the table. The role is checked before the handler runs; CSRF (by origin) and the session before that.
//
//  2. A handler is func(*visit) error. It reads with load, which gives each panel its own snapshot, time-out and error,
//     or with c.read; it answers with v.render(page, title, data), or v.fragment(page, template, data) for a part. An
//     act calls v.api(method, path, body, &answer) and ends in v.done(to, tone, text): a redirect, with a line for the
//     next page. Errors: return them. A [refusal] (refuse, field, errNotFound) is shown as it is, pgx.ErrNoRows is "not
//     found", anything else is logged and shown as such. v.query and v.form read values, v.id an id of the path,
//     v.With("cursor", next) makes the address of the next page: filters live in the URL.
//     wholePage and livePart make handlers of a page and of its live part from one function that reads. Whoever acts on all
//     that a filter selects refuses what it does not understand: onlyFilters.
//
//  3. templates/reply.html defines "content"; it sees view: .Data is what the handler gave, .Can "operator" asks for a
//     role, {{.Needs "operator"}} within a button's tag disables it with the reason, .Here is the address for a form's
//     hidden field back. Parts shared by all are in _parts.html: "empty", "error", "pager", "reason", "search", "facts".
//     Functions (words.go): badge, becomes, label, deed, when, day, clock, count, price, money, percent, duration, age, plural, short,
//     phone, meter, spark, line and bars (charts: chart.go); query for a filter behind the question mark of an address, where a plain
//     value would be escaped as one. No inline script or style: the policy forbids both, and so it does
//     attributes style and on…. Classes are in static/app.css; its head lists them.
//
//  4. Live: <div data-live hx-get="/replies/list?…" hx-trigger="every 3s" hx-swap="innerMorph">{{template "list" .}}</div>,
//     where the handler of that address answers with v.fragment. The page asks only while it is seen, and what has not
//     changed is answered 304. Forms: method="post" action="…" and, for errors beside the form instead of on a page,
//     hx-post="…" hx-swap="none" with {{template "form-error"}} in it. Acts stand in <details class="act">. htmx is
//     version 4: attributes are not inherited, and filters in triggers or hx-on are code, which the policy forbids.
//
//  5. Look at it: 1440 and 360 px wide, light and dark. Add it to furnish (cmd/internal/app/console_pages_test.go), whose
//     test looks for what sticks out, has no name or cannot be read, and fails on any error in the browser's console.
package console
