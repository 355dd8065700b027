package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// svixTolerance is how far a timestamp may be from now, either way: what Svix's own libraries allow.
const svixTolerance = 5 * time.Minute

// ErrStaleTimestamp says that a request is well signed and its timestamp is not of now.
var ErrStaleTimestamp = errors.New("stale timestamp")

// SvixVerifier checks requests that Svix delivers, or anyone who follows https://www.standardwebhooks.com:
// base64(HMAC-SHA256(secret, id.timestamp.body)).
type SvixVerifier struct {
	keys  [][]byte
	clock func() time.Time
}

// NewSvixVerifier takes the secrets that may sign, whsec_ and base64. No secret, or an empty one, is an error: anybody can
// sign with that.
func NewSvixVerifier(secrets []string, clock func() time.Time) (*SvixVerifier, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no secret")
	}
	v := &SvixVerifier{clock: clock}
	for n, secret := range secrets {
		encoded := strings.TrimRight(strings.TrimPrefix(strings.TrimSpace(secret), "whsec_"), "=")
		key, err := base64.RawStdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("secret %d must be whsec_ and base64", n+1) // err would tell of the secret
		}
		if len(key) == 0 {
			return nil, fmt.Errorf("secret %d is empty", n+1)
		}
		v.keys = append(v.keys, key)
	}
	return v, nil
}

// header is a request's, whoever read it.
type header interface{ Get(name string) string }

// Verify returns the delivery's id, the same on every attempt, and the index of the secret that signed it; with
// ErrStaleTimestamp, too.
func (v *SvixVerifier) Verify(h header, body []byte) (id string, secret int, err error) {
	id, timestamp, signatures := svixHeaders(h)
	if id == "" || timestamp == "" || signatures == "" {
		return "", -1, fmt.Errorf("%w: a header is missing", ErrBadSignature)
	}
	sent, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return "", -1, fmt.Errorf("%w: the timestamp is no number", ErrBadSignature)
	}

	secret = v.match(id, timestamp, body, signatures)
	if secret < 0 {
		return "", -1, fmt.Errorf("%w: no secret matches", ErrBadSignature)
	}

	now, tolerance := v.clock().Unix(), int64(svixTolerance/time.Second)
	if sent < now-tolerance || sent > now+tolerance {
		return id, secret, fmt.Errorf("%w: not within %s of now", ErrStaleTimestamp, svixTolerance)
	}
	return id, secret, nil
}

// svixHeaders takes all three from one family, so that none comes from elsewhere.
func svixHeaders(h header) (id, timestamp, signatures string) {
	for _, family := range []string{"Svix-", "Webhook-"} {
		id, timestamp, signatures = h.Get(family+"Id"), h.Get(family+"Timestamp"), h.Get(family+"Signature")
		if id != "" && timestamp != "" && signatures != "" {
			return id, timestamp, signatures
		}
	}
	return "", "", ""
}

// match returns the index of the first secret that made one of the signatures, or -1.
func (v *SvixVerifier) match(id, timestamp string, body []byte, signatures string) int {
	for n, key := range v.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))

		for given := range strings.SplitSeq(signatures, " ") {
			if hmac.Equal([]byte(given), want) {
				return n
			}
		}
	}
	return -1
}
