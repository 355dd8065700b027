package track

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPagesObeyTheirPolicy: the style sheet in each page is the one whose hash the policy allows, and
// nothing in it needs more than the policy gives.
func TestPagesObeyTheirPolicy(t *testing.T) {
	t.Parallel()
	p, err := newPages()
	require.NoError(t, err)
	for _, name := range []page{pageAsk, pageDone, pageBusy, pageNotFound} {
		w := httptest.NewRecorder()
		p.show(w, 200, name, `<a>"•••@e•••.com`)
		html := w.Body.String()
		styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(html, -1)
		require.Len(t, styles, 1)
		sum := sha256.Sum256([]byte(styles[0][1]))
		require.Contains(t, p.policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		require.NotContains(t, html, "<script")
		require.NotContains(t, html, " style=")
		require.NotContains(t, html, "<a>", "escaped")
		require.NotContains(t, html, "://", "nothing is loaded")
		require.Contains(t, html, `lang="en"`)
	}
}
