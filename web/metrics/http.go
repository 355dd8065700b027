package metrics

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"onward/web"
)

type httpMetrics struct {
	requests *prometheus.HistogramVec
	methods  map[string]bool
}

func newHTTPMetrics() httpMetrics {
	return httpMetrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "onward_http_request_seconds", Help: "Duration of HTTP requests, by route pattern.", Buckets: latency(),
		}, []string{"route", "method", "code"}),
		methods: set([]string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		}),
	}
}

func (h httpMetrics) all() []prometheus.Collector { return []prometheus.Collector{h.requests} }

// HTTP observes an answered request.
func (m *Metrics) HTTP(r web.Request) {
	// A method is whatever a stranger writes on the first line.
	method := oneOf(m.http.methods, r.Method)
	observe(m.http.requests.WithLabelValues(r.Route, method, strconv.Itoa(r.Code)), r.Took.Seconds(), r.TraceID)
}
