package crmapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"onward/web/apitoken"
)

// requestTime is what a request may take in all; an opt-out that waits for a running provider call is the longest.
const requestTime = 30 * time.Second

var errRequestTime = errors.New("the API's request time-out of 30 s")

func timeLimit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit, cause := requestTime, errRequestTime
		if wantsCSV(r) {
			limit, cause = exportTime, errExportTime
		}
		ctx, cancel := context.WithTimeoutCause(r.Context(), limit, cause)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

type sessionKey struct{}

// sessions notes who came by a session: a browser sends its cookie along whoever makes it ask, so these requests must
// come from our own pages. It stands before the check of tokens.
func sessions(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := apitoken.FromContext(r.Context()); ok {
			if err := protection.Check(r); err != nil {
				writeProblem(w, http.StatusForbidden, "another site's page asked for this")
				return
			}
			r = r.WithContext(context.WithValue(r.Context(), sessionKey{}, true))
		}
		next.ServeHTTP(w, r)
	})
}

// acceptJSON lets a body be JSON by what it is: curl -d and its like name the type of a form. That is safe for whoever sends
// a token in a header, which no other site's page can; a session needs application/json, which no form can send.
func acceptJSON(r *http.Request, body []byte) {
	if len(body) == 0 || r.Context().Value(sessionKey{}) != nil {
		return
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && media == "application/x-www-form-urlencoded" && json.Valid(body) {
		r.Header.Set("Content-Type", "application/json")
	}
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
		if len(body) > 0 && r.Header.Get("Content-Type") == "" && r.Context().Value(sessionKey{}) != nil {
			writeProblem(w, http.StatusUnsupportedMediaType, "send Content-Type: application/json")
			return
		}
		if !utf8.Valid(body) {
			writeProblem(w, http.StatusBadRequest, "body: is not UTF-8", &huma.ErrorDetail{Location: "body", Message: "is not UTF-8"})
			return
		}
		if f := readStrictly(body); f != nil {
			writeInvalid(w, "body"+f.place, f.message)
			return
		}
		acceptJSON(r, body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.Method == http.MethodPost {
			if values := r.Header.Values(idempotencyHeader); len(values) > 0 {
				key := values[0]
				if len(values) > 1 || !validIdempotencyKey(key) {
					writeInvalid(w, "header."+idempotencyHeader, "send one, of 1 to 255 printable ASCII characters")
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
