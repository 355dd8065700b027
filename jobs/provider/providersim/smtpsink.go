package providersim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	netmail "net/mail"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// Mailboxes, by the part before the @, whose mails meet a fixed fate.
const (
	MailboxBounce     = "bounce"     // refused at RCPT, 550 5.1.1
	MailboxBusy       = "busy"       // refused at RCPT for now, 450 4.2.1
	MailboxRefused    = "refused"    // content refused after DATA, 554 5.6.0
	MailboxDrop       = "drop"       // connection closed at the closing dot, mail not taken
	MailboxDropOut    = "dropout"    // connection closed at the closing dot, mail taken
	MailboxBounceLate = "bouncelate" // taken, then email.bounced (Permanent)
	MailboxSoftBounce = "softbounce" // taken, then email.bounced (Transient)
	MailboxComplain   = "complain"   // taken, delivered, then email.complained
	MailboxQuiet      = "quiet"      // taken, and no event follows
)

// maxMail is what the sink takes; providers allow 25 to 40 MB.
const maxMail = 25 << 20

// Mail is one mail that the sink took.
type Mail struct {
	From   string         `json:"from"`
	To     []string       `json:"to"`
	Header netmail.Header `json:"header"`
	Text   string         `json:"text"`
	HTML   string         `json:"html"`
	Raw    []byte         `json:"-"`
	At     time.Time      `json:"at"`
}

// MessageID is the Message-ID without its angle brackets.
func (m Mail) MessageID() string { return strings.Trim(m.Header.Get("Message-Id"), "<>") }

func (s *Sim) newMailServer() *gosmtp.Server {
	server := gosmtp.NewServer(gosmtp.BackendFunc(func(conn *gosmtp.Conn) (gosmtp.Session, error) {
		return &mailSession{sim: s, conn: conn}, nil
	}))
	server.Domain = "providersim.invalid"
	server.MaxMessageBytes = maxMail
	server.ReadTimeout = time.Minute
	server.WriteTimeout = time.Minute
	server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	return server
}

type mailSession struct {
	sim  *Sim
	conn *gosmtp.Conn
	from string
	to   []string
}

func (m *mailSession) Reset()        { m.from, m.to = "", nil }
func (m *mailSession) Logout() error { return nil }

func (m *mailSession) Mail(from string, _ *gosmtp.MailOptions) error {
	m.from = from
	return nil
}

func (m *mailSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	switch mailbox(to) {
	case MailboxBounce:
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "<" + to + ">: no such mailbox"}
	case MailboxBusy:
		return &gosmtp.SMTPError{Code: 450, EnhancedCode: gosmtp.EnhancedCode{4, 2, 1}, Message: "try again later"}
	}
	m.to = append(m.to, to)
	return nil
}

func (m *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s := m.sim
	mail, err := parseMail(raw)
	if err != nil {
		return &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 6, 0}, Message: "not a mail"}
	}
	mail.From, mail.To, mail.At = m.from, m.to, s.opts.Now()
	box := mailbox(m.to[0])
	chances := s.draws("mail", m.to[0], mail.MessageID(), s.ordinal("mail "+m.to[0]))
	drop, out := chance(chances, s.opts.Faults.SMTPDrop), chance(chances, 0.5)
	switch {
	case box == MailboxRefused:
		return &gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 6, 0}, Message: "content refused"}
	case box == MailboxDrop, box != MailboxDropOut && drop && !out:
		return m.drop()
	}
	s.change(func() { s.mails = keep(s, s.mails, mail) })
	s.mailEvents(mail, box)
	if box == MailboxDropOut || drop {
		return m.drop()
	}
	return nil
}

func (m *mailSession) drop() error {
	_ = m.conn.Conn().Close()
	return errors.New("dropped")
}

// mailEvents sends the delivery events of a mail, if there is a secret to sign
// them with.
func (s *Sim) mailEvents(mail *Mail, box string) {
	if s.opts.ResendSecret == "" || box == MailboxQuiet {
		return
	}
	event := EmailEvent{To: mail.To[0], From: mail.From, Subject: mail.Header.Get("Subject"), MessageID: mail.MessageID(), Headers: map[string]string{}}
	for name := range mail.Header {
		if strings.HasPrefix(name, "X-") {
			event.Headers[name] = mail.Header.Get(name)
		}
	}
	kinds := []string{"delivered"}
	switch box {
	case MailboxBounceLate:
		kinds = []string{"bounced"}
	case MailboxSoftBounce:
		kinds, event.BounceType = []string{"bounced"}, "Transient"
	case MailboxComplain:
		kinds = []string{"delivered", "complained"}
	}
	s.spawn(func(ctx context.Context) {
		for _, kind := range kinds {
			if !sleep(ctx, s.opts.CallbackDelay) {
				return
			}
			if _, err := s.EmailEvent(kind, event); err != nil {
				s.log.Warn("no delivery event", slog.Any("error", err))
				return
			}
		}
	})
}

func mailbox(address string) string {
	local, _, _ := strings.Cut(address, "@")
	return strings.ToLower(local)
}
