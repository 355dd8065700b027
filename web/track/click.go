package track

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"onward/jobs"
	"onward/jobs/tracktoken"
)

// click leads to the address that is sealed in the token, and to no other: nothing else of the request
// says where. A click counts once a message and address, for machines and readers each.
func (t *Track) click(w http.ResponseWriter, r *http.Request) {
	received := t.opts.Clock()
	claims, err := t.claims(r, tracktoken.PurposeClick)
	if err != nil || tracktoken.CheckURL(claims.URL) != nil { // checked when it was sealed, too
		t.opts.Observe(jobs.KindClick, ResultInvalidToken)
		t.pages.show(w, http.StatusNotFound, pageNotFound, "")
		return
	}
	w.Header().Set("Content-Length", "0") // complete with its head, so that flush ends it
	w.Header().Set("Location", asciiURL(claims.URL))
	w.WriteHeader(http.StatusFound)
	flush(w)

	t.record(r, jobs.KindClick, claims, "tk:c:"+claims.MessageID+":"+urlHash(claims.URL), received)
}

// asciiURL escapes what a header may not hold as it is: bytes beyond ASCII, as browsers do it. The rest was
// checked by [tracktoken.CheckURL].
func asciiURL(url string) string {
	const digits = "0123456789ABCDEF"
	escaped := make([]byte, 0, len(url))
	for i := range len(url) {
		if c := url[i]; c < 0x80 {
			escaped = append(escaped, c)
		} else {
			escaped = append(escaped, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(escaped)
}

// urlHash tells the links of one message apart: 64 bits, of which a message would need billions to clash.
func urlHash(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:8])
}
