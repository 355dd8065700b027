package track

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

// page names one of the pages in page.html.
type page string

const (
	pageAsk      page = "ask"       // the button
	pageDone     page = "done"      // unsubscribed
	pageBusy     page = "busy"      // not accepted; the button again
	pageNotFound page = "not_found" // a token that does not open
)

// pages are the pages and the policy under which they are served.
type pages struct {
	template *template.Template
	policy   string
}

// pageView is what page.html shows.
type pageView struct {
	Style   template.CSS
	Page    page
	Address string // masked
}

func newPages() (*pages, error) {
	parsed, err := template.New("page").Parse(pageSource)
	if err != nil {
		return nil, fmt.Errorf("track: %w", err)
	}
	// The hash is of what stands between <style> and </style>, to the byte.
	sum := sha256.Sum256([]byte(pageStyle))
	return &pages{
		template: parsed,
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	}, nil
}

// show writes a page whole or not at all.
func (p *pages) show(w http.ResponseWriter, status int, name page, address string) {
	var b bytes.Buffer
	// The style sheet is our own file, embedded.
	view := pageView{Style: template.CSS(pageStyle), Page: name, Address: address} //nolint:gosec // no input in it
	if err := p.template.Execute(&b, view); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader left
}
