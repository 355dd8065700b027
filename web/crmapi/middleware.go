package crmapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"time"
)

// requestTime is what a request may take in all; an opt-out that waits for a running provider call is the longest.
const requestTime = 30 * time.Second

var errRequestTime = errors.New("the API's request time-out of 30 s")

func timeLimit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeoutCause(r.Context(), requestTime, errRequestTime)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

type requestIDKey struct{}

// requestIDs keeps the id that the listener gave to a request, so that an error can be found in the log.
func requestIDs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := w.Header().Get("X-Request-Id"); id != "" {
			r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
		}
		next.ServeHTTP(w, r)
	})
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// bodies reads a request's body, within its limit, and what is needed to know a repeated POST.
func bodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			writeProblem(w, http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB")
			return
		}
		if err != nil {
			writeProblem(w, http.StatusBadRequest, "the body could not be read")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.Method == http.MethodPost {
			if values := r.Header.Values(idempotencyHeader); len(values) > 0 {
				key := values[0]
				if len(values) > 1 || !validIdempotencyKey(key) {
					writeProblem(w, http.StatusUnprocessableEntity, "Idempotency-Key: send one, of 1 to 255 printable ASCII characters")
					return
				}
				r = r.WithContext(context.WithValue(r.Context(), repeatableKey{}, repeatable{key: key, hash: hashRequest(r, body)}))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// hashRequest tells two requests apart that came with one key.
func hashRequest(r *http.Request, body []byte) []byte {
	h := sha256.New()
	for _, part := range []string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Write(body)
	return h.Sum(nil)
}
