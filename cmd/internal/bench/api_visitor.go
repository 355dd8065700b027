package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"onward/web/apitoken"
)

// visitor asks a web process as a program with a token does, and as a browser that is logged in.
type visitor struct {
	base, token string
	client      *http.Client
}

// visitPatience is longer than any answer that is of use.
const visitPatience = 30 * time.Second

func newVisitor(base, token string) (*visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("make a cookie jar: %w", err)
	}
	return &visitor{base: base, token: token, client: &http.Client{
		Jar: jar, Timeout: visitPatience, Transport: &http.Transport{MaxIdleConnsPerHost: apiAtOnce},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (v *visitor) close() { v.client.CloseIdleConnections() }

// login gets the session that the console's pages are asked with.
func (v *visitor) login(ctx context.Context) error {
	form := url.Values{"token": {v.token}, "next": {"/businesses"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.base+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := v.client.Do(req)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("log in: status %d", res.StatusCode)
	}
	return nil
}

// ask returns how long it took until the whole answer was there.
func (v *visitor) ask(ctx context.Context, q apiQuestion, path string) (time.Duration, error) {
	begun := time.Now()
	_, err := v.get(ctx, path, q.page)
	return time.Since(begun), err
}

func (v *visitor) get(ctx context.Context, path string, page bool) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	client := v.client
	if page {
		req.Header.Set("Accept", "text/html")
	} else {
		bare := *v.client
		bare.Jar = nil
		client = &bare
		req.Header.Set("Authorization", "Bearer "+v.token)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d: %.300s", path, res.StatusCode, body)
	}
	return body, nil
}

// deepCursors turns over so many full pages of the list of businesses, and keeps where each went on.
func (v *visitor) deepCursors(ctx context.Context, pages int) (cursors []string, err error) {
	cursor := ""
	for range pages {
		body, err := v.get(ctx, apiPath("/crm/businesses", "limit", "100", "cursor", cursor), false)
		if err != nil {
			return nil, err
		}
		var page struct {
			Next *string `json:"next_cursor"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, fmt.Errorf("read a page of businesses: %w", err)
		}
		if page.Next == nil {
			break
		}
		cursor = *page.Next
		cursors = append(cursors, cursor)
	}
	return cursors, nil
}

// apiToken makes a token, and what takes it back.
func (b *bench) apiToken(ctx context.Context) (secret string, revoke func(), err error) {
	t, secret, err := apitoken.Create(ctx, b.pool, fmt.Sprintf("bench %d", time.Now().UnixNano()), apitoken.Operator)
	if err != nil {
		return "", nil, fmt.Errorf("make a token: %w", err)
	}
	return secret, func() {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), 10*time.Second, errors.New("time-out of revoking the token"))
		defer cancel()
		_, _ = apitoken.Revoke(ctx, b.pool, t.PublicID.String())
	}, nil
}
