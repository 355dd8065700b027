package providersim

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio's signature is HMAC-SHA1
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SignTwilio returns the X-Twilio-Signature of a request: over the URL as it is
// configured (query and all, without its fragment) and the form's pairs, keys in
// byte order, the values of a repeated key sorted and once each. A request with
// another body than a form is signed with no form; its URL then holds bodySHA256.
func SignTwilio(token, rawURL string, form url.Values) string {
	mac := hmac.New(sha1.New, []byte(token))
	signed, _, _ := strings.Cut(rawURL, "#")
	_, _ = io.WriteString(mac, signed)
	keys := make([]string, 0, len(form))
	for key := range form {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		values := slices.Clone(form[key])
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			_, _ = io.WriteString(mac, key+value)
		}
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// SignSvix returns the svix-signature of a delivery ("v1,…"). It fails on a
// secret that is empty or no base64.
func SignSvix(secret, id string, ts time.Time, body []byte) (string, error) {
	key, err := svixKey(secret)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id+"."+strconv.FormatInt(ts.Unix(), 10)+".")
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

func svixKey(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return nil, fmt.Errorf("svix secret: %w", errors.New("not base64 after whsec_"))
	}
	if len(key) == 0 {
		return nil, errors.New("svix secret: empty")
	}
	return key, nil
}
