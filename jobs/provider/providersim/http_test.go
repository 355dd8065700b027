package providersim_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// do makes one request on a connection of its own and reads the whole answer.
func do(t *testing.T, method, url, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", contentType)
	req.SetBasicAuth(accountSID, authToken)
	req.Close = true
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	out := httptest.NewRecorder()
	out.Code = resp.StatusCode
	_, err = io.Copy(out.Body, resp.Body)
	require.NoError(t, err)
	return out
}
