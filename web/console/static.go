package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"
)

// htmx.min.js is htmx 4.0.1 as published on npm (htmx.org, Zero-Clause BSD: static/htmx.LICENSE), unchanged.
//
//go:embed static/*.js static/*.css static/*.svg
var static embed.FS

const staticPrefix = "/static/"

// contentPolicy lets pages load from this host alone and run no script that is not a file of it. Nothing inline: what a
// text from outside might smuggle in does not run.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// headers puts what every answer of the console carries.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=()")
		next.ServeHTTP(w, r)
	})
}

// asset is a static file, ready to be sent.
type asset struct {
	content, zipped []byte
	kind            string
}

// assets are the static files by their name with a hash of the content in it: a browser keeps them for good.
type assets struct {
	byHash map[string]asset
	hashed map[string]string // by the name in the source
}

func readAssets() (*assets, error) {
	files, err := static.ReadDir("static")
	if err != nil {
		return nil, err
	}
	a := &assets{byHash: map[string]asset{}, hashed: map[string]string{}}
	for _, f := range files {
		content, err := static.ReadFile("static/" + f.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(f.Name())
		name := strings.TrimSuffix(f.Name(), ext) + "." + base64.RawURLEncoding.EncodeToString(sum[:9]) + ext
		zipped, err := zip(content)
		if err != nil {
			return nil, fmt.Errorf("compress %s: %w", f.Name(), err)
		}
		kind := mime.TypeByExtension(ext)
		if ext == ".js" {
			kind = "text/javascript; charset=utf-8" // whatever this system's table says
		}
		a.byHash[name] = asset{content: content, zipped: zipped, kind: kind}
		a.hashed[f.Name()] = staticPrefix + name
	}
	return a, nil
}

func zip(b []byte) ([]byte, error) {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// url is where a static file is.
func (a *assets) url(name string) string { return a.hashed[name] }

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	f, ok := a.byHash[strings.TrimPrefix(r.URL.Path, staticPrefix)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	body := f.content
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = f.zipped
	}
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // the connection: nobody is left to tell
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(name, "gzip") && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// worthZipping is what fits into one packet: less gains nothing.
const worthZipping = 1400

// writeCompressed writes a page. Fast rather than small: it is written once, mostly over a short way.
func writeCompressed(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Add("Vary", "Accept-Encoding")
	if len(body) < worthZipping || !acceptsGzip(r) {
		w.WriteHeader(status)
		_, _ = w.Write(body) // the connection: nobody is left to tell
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return // a level that exists
	}
	_, _ = z.Write(body)
	_ = z.Close()
}
