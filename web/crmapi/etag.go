package crmapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// etags gives what is read a tag of its content, and answers 304 to who has it already: a program that polls costs the
// reading, but no transfer.
func etags(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		t := &tagged{ResponseWriter: w}
		next.ServeHTTP(t, r)
		if !t.held {
			return
		}
		sum := sha256.Sum256(t.body.Bytes())
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "private, no-cache")
		if hasTag(r.Header.Values("If-None-Match"), tag) {
			w.Header().Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(t.body.Bytes()) // the client's connection: nobody is left to tell
	})
}

// hasTag compares as RFC 9110 (13.1.2) says: weakly, against any of a list.
func hasTag(headers []string, tag string) bool {
	for _, h := range headers {
		for candidate := range strings.SplitSeq(h, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// tagged holds JSON back that was answered with 200, and lets everything else through.
type tagged struct {
	http.ResponseWriter
	decided, held bool
	body          bytes.Buffer
}

// WriteHeader decides which it is.
func (t *tagged) WriteHeader(status int) {
	if !t.decided {
		t.decided = true
		t.held = status == http.StatusOK && strings.HasPrefix(t.Header().Get("Content-Type"), "application/json")
	}
	if !t.held {
		t.ResponseWriter.WriteHeader(status)
	}
}

// Write keeps what is held.
func (t *tagged) Write(p []byte) (int, error) {
	if !t.decided {
		t.WriteHeader(http.StatusOK)
	}
	if t.held {
		return t.body.Write(p)
	}
	return t.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (t *tagged) Unwrap() http.ResponseWriter { return t.ResponseWriter }
