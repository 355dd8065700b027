package crmapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"onward/web/apitoken"
)

// maxBody is what a request may hold. 1 MiB is a campaign of some 25,000 listed businesses.
const maxBody = 1 << 20

// operation describes one endpoint, beside what its types say.
type operation struct {
	method, path string
	id           string // as a client generator would name the method
	tag          string
	summary      string
	description  string
	status       int // of success; 0: 200
	also         int // another status of success, with the same answer; 0: none
	fails        int // another status of failure, beside the usual ones; 0: none
}

// register adds an endpoint that needs a role. Whatever error the handler returns becomes a problem.
func register[I, O any](a *API, h huma.API, need apitoken.Role, o operation, handle func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		Method: o.method, Path: o.path, OperationID: o.id, Summary: o.summary, Description: o.description, Tags: []string{o.tag},
		DefaultStatus: o.status,
		Security:      []map[string][]string{{securityName: {}}},
		Errors: []int{
			http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable,
		},
		Metadata: map[string]any{roleKey: need},
		// One more than the middleware lets through, which answers first.
		MaxBodyBytes: maxBody + 2,
		// The body is read already. A read deadline set now would end the request's context when it passes.
		BodyReadTimeout: -1,
		Middlewares:     huma.Middlewares{requireRole(h, need)},
	}
	if strings.Contains(o.path, "{") {
		op.Errors = append(op.Errors, http.StatusNotFound)
	}
	if o.fails != 0 {
		op.Errors = append(op.Errors, o.fails)
	}
	if o.method == http.MethodGet {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "If-None-Match", In: "header", Description: "An ETag of an earlier answer: 304, without a body, when it still holds.",
			Schema: &huma.Schema{Type: huma.TypeString},
		})
		op.Responses = map[string]*huma.Response{strconv.Itoa(http.StatusNotModified): {Description: http.StatusText(http.StatusNotModified)}}
	}
	if o.method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if o.method == http.MethodPost {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: idempotencyHeader, In: "header",
			Description: "A value of your own, such as a UUID, that makes a repetition of this request safe.",
			Schema:      &huma.Schema{Type: huma.TypeString, MaxLength: new(maxIdempotencyKey)},
		})
	}
	huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, a.problem(ctx, o.id, err)
		}
		return out, nil
	})
	if l, ok := any(new(O)).(lister); ok && o.method == http.MethodGet {
		a.lists[o.path] = l.columns()
		h.OpenAPI().Paths[o.path].Get.Responses["200"].Content["text/csv"] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	if o.also != 0 {
		responses := h.OpenAPI().Paths[o.path].Post.Responses
		same := *responses[strconv.Itoa(o.status)]
		same.Description = http.StatusText(o.also)
		responses[strconv.Itoa(o.also)] = &same
	}
}

// roleKey is where an operation's metadata holds the role that it needs.
const roleKey = "role"

func requireRole(h huma.API, need apitoken.Role) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		token, _ := apitoken.FromContext(ctx.Context())
		if !token.Role.Allows(need) {
			_ = huma.WriteErr(h, ctx, http.StatusForbidden, fmt.Sprintf("this needs the role %s; the token %q is a %s", need, token.Name, token.Role))
			return
		}
		next(ctx)
	}
}
