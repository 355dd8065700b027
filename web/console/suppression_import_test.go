package console_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// A file that is imported goes to the API in parts. When one fails, the page says how many rows were done before it, and
// the log says why it failed.
func TestSuppressionImport_failsHalfWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cookie := b.login(apitoken.Operator)
	parts := 0
	b.api = func(w http.ResponseWriter, _ *http.Request) {
		if parts++; parts > 1 {
			http.Error(w, "the pool is closed", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"added": 990, "already": 10, "refused": []}`)
	}
	send := func(rows int) reply {
		t.Helper()
		var form bytes.Buffer
		m := multipart.NewWriter(&form)
		file, err := m.CreateFormFile("file", "blocklist.csv")
		require.NoError(t, err)
		_, err = io.WriteString(file, "address\n")
		require.NoError(t, err)
		for i := range rows {
			_, err = fmt.Fprintf(file, "contact%d@example.test\n", i)
			require.NoError(t, err)
		}
		require.NoError(t, m.WriteField("do", "import"))
		require.NoError(t, m.WriteField("reason", "list of the provider before"))
		require.NoError(t, m.Close())
		r := httptest.NewRequest(http.MethodPost, "/settings/suppressions/import", &form)
		r.Header.Set("Content-Type", m.FormDataContentType())
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Hx-Request", "true")
		w := httptest.NewRecorder()
		b.router.ServeHTTP(w, r)
		return reply{StatusCode: w.Code, Header: w.Header(), Body: w.Body.String()}
	}

	res := send(1001)
	require.Equal(t, 2, parts)
	require.Equal(t, http.StatusInternalServerError, res.StatusCode)
	require.Equal(t, "An unexpected error, which is in the log. Before that 1\u202f000 rows were done: import the file again, what is done changes nothing.", res.Body)
	require.Contains(t, b.log.String(), "the API answered 502: the pool is closed")
	require.Contains(t, b.log.String(), "path=/settings/suppressions/import")

	// Again, and it goes through: the parts that were done are told as such.
	b.api = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"added": 0, "already": 500, "refused": []}`)
	}
	res = send(1001)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, res.Body, "blocklist.csv is imported")
}
