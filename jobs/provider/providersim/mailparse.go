package providersim

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
)

// parseMail reads the header and the first plain and HTML part.
func parseMail(raw []byte) (*Mail, error) {
	parsed, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	mail := &Mail{Header: parsed.Header, Raw: raw}
	mail.readPart(parsed.Header.Get("Content-Type"), parsed.Header.Get("Content-Transfer-Encoding"), parsed.Body, 3)
	return mail, nil
}

// readPart takes what it can of a part, and of its parts to some depth.
func (m *Mail) readPart(contentType, encoding string, body io.Reader, depth int) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = "text/plain"
	}
	if strings.EqualFold(encoding, "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	switch {
	case strings.HasPrefix(kind, "multipart/") && depth > 0:
		parts := multipart.NewReader(body, params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err != nil {
				return
			}
			m.readPart(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part, depth-1)
		}
	case kind == "text/plain" && m.Text == "":
		text, _ := io.ReadAll(body)
		m.Text = string(text)
	case kind == "text/html" && m.HTML == "":
		text, _ := io.ReadAll(body)
		m.HTML = string(text)
	}
}
