package track

import (
	"net/http"
	"strconv"

	"onward/jobs"
	"onward/jobs/tracktoken"
)

// pixel is a transparent GIF of 1×1: the smallest image that every mail program shows (GIF89a, a palette of
// two colours, the first transparent).
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff" +
	"\x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b"

// open answers the image, whatever the token and whatever becomes of the receipt: a broken image in an
// email helps nobody, and strangers learn nothing. An open counts once a message, for machines and readers each.
func (t *Track) open(w http.ResponseWriter, r *http.Request) {
	received := t.opts.Clock()
	w.Header().Set("Content-Type", "image/gif")
	w.Header().Set("Content-Length", strconv.Itoa(len(pixel)))
	_, _ = w.Write([]byte(pixel)) // a reader who left does not undo that he opened
	flush(w)

	claims, err := t.claims(r, tracktoken.PurposeOpen)
	if err != nil {
		t.opts.Observe(jobs.KindOpen, ResultInvalidToken)
		return
	}
	t.record(r, jobs.KindOpen, claims, "tk:o:"+claims.MessageID, received)
}
