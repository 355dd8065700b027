package crmapi

import (
	"context"
	"encoding/csv"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

func (a *API) registerSuppressionExport(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/suppressions.csv", id: "exportSuppressions", tag: tagSuppressions,
		summary: "All addresses that must not be written to, as CSV",
		description: "Columns channel, address, reason, source, since, newest first, as `onward suppressions import` reads them. " +
			"Those of erased contacts are hashes that nobody can read, and are left out. An answer that was cut off has no last line: its connection breaks.",
	}, a.exportSuppressions)
	op := h.OpenAPI().Paths["/suppressions.csv"].Get
	op.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{
		"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}},
	}}
}

type exportSuppressionsInput struct {
	Channel string `query:"channel" enum:"sms,email"`
}

func (a *API) exportSuppressions(_ context.Context, in *exportSuppressionsInput) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "text/csv; charset=utf-8")
		hc.SetHeader("Content-Disposition", `attachment; filename="suppressions.csv"`)
		ctx, out := hc.Context(), csv.NewWriter(hc.BodyWriter())
		err := out.Write([]string{"channel", "address", "reason", "source", "since"})
		if err == nil {
			f := pgstore.SuppressionFilter{Channel: in.Channel, State: "active", Readable: true}
			err = pgstore.EachSuppression(ctx, a.opts.Pool, f, func(s pgstore.StoredSuppression) error {
				return out.Write([]string{s.Channel, s.Address, s.Reason, s.Source, s.Since.Format(time.RFC3339)})
			})
		}
		if out.Flush(); err == nil {
			err = out.Error()
		}
		if err != nil {
			// The status is out: only a broken connection can still say that this is not all.
			a.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "API answer cut off", slog.String("operation", "exportSuppressions"), slog.Any("error", err))
			panic(http.ErrAbortHandler)
		}
	}}, nil
}
