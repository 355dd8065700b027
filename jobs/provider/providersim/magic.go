package providersim

// Recipients whose texts meet a fixed fate. The first five are Twilio's own
// (https://www.twilio.com/docs/iam/test-credentials); the rest carry what they
// do in their last digits.
const (
	MagicInvalid      = "+15005550001" // refused, 21211
	MagicUnroutable   = "+15005550002" // refused, 21612
	MagicRegionClosed = "+15005550003" // refused, 21408
	MagicOptedOut     = "+15005550004" // refused, 21610
	MagicNotMobile    = "+15005550009" // refused, 21614

	MagicBadToken       = "+15005550401" // 401, 20003
	MagicUnlistedCode   = "+15005550400" // refused, 20001, which no table of ours lists
	MagicRateLimited    = "+15005550429" // 429, 20429, Retry-After: 1
	MagicServerError    = "+15005550500" // 500 HTML, message not taken
	MagicServerErrorOut = "+15005550501" // 500 HTML, message on its way
	MagicUnavailable    = "+15005550503" // 503 HTML, message not taken
	MagicHang           = "+15005550408" // no answer, message not taken
	MagicHangOut        = "+15005550409" // no answer, message on its way
	MagicDrop           = "+15005550410" // connection closed, message not taken
	MagicDropOut        = "+15005550411" // connection closed, message on its way
	MagicGarbage        = "+15005550201" // 201 without JSON, message on its way
	MagicNoSID          = "+15005550202" // 200 {}, message on its way
	MagicRedirect       = "+15005550302" // 302 to nowhere

	MagicNoCallbacks    = "+15005550204" // delivered, and no callback says so
	MagicTwiceBackwards = "+15005550205" // delivered, each callback twice, last first
	MagicStuck          = "+15005550206" // sent, and nothing after
	MagicFailed         = "+15005553001" // failed, 30001
	MagicUnreachable    = "+15005553003" // undelivered, 30003
	MagicUnknownHandset = "+15005553005" // undelivered, 30005
	MagicLandline       = "+15005553006" // undelivered, 30006
	MagicFiltered       = "+15005553007" // undelivered, 30007
	MagicUndelivered    = "+15005553008" // undelivered, 30008
	MagicAsyncOptedOut  = "+15005551610" // accepted, then failed with 21610
)

// fate is what becomes of one call that creates a message.
type fate struct {
	outcome Outcome
	status  int // HTTP; of refusals and server errors
	code    int // Twilio's; of refusals
	out     bool
	life    life
}

// life is what becomes of a message once it is out.
type life struct {
	final     string // its last status
	code      int    // with final
	silent    bool   // no callbacks
	backwards bool
	twice     bool
}

// magicFate is the fate of a number, nil for ordinary ones.
func magicFate(to string) *fate {
	refused := func(status, code int) *fate { return &fate{outcome: OutcomeRefused, status: status, code: code} }
	out := func(l life) *fate { return &fate{outcome: OutcomeAccepted, out: true, life: l} }
	delivered := life{final: "delivered"}
	switch to {
	case MagicInvalid:
		return refused(400, 21211)
	case MagicUnroutable:
		return refused(400, 21612)
	case MagicRegionClosed:
		return refused(403, 21408)
	case MagicOptedOut:
		return refused(400, 21610)
	case MagicNotMobile:
		return refused(400, 21614)
	case MagicBadToken:
		return refused(401, 20003)
	case MagicUnlistedCode:
		return refused(400, 20001)
	case MagicRateLimited:
		return &fate{outcome: OutcomeRateLimited, status: 429, code: 20429}
	case MagicServerError:
		return &fate{outcome: OutcomeServerError, status: 500}
	case MagicServerErrorOut:
		return &fate{outcome: OutcomeServerError, status: 500, out: true, life: delivered}
	case MagicUnavailable:
		return &fate{outcome: OutcomeServerError, status: 503}
	case MagicRedirect:
		return &fate{outcome: OutcomeServerError, status: 302}
	case MagicHang:
		return &fate{outcome: OutcomeHung}
	case MagicHangOut:
		return &fate{outcome: OutcomeHung, out: true, life: delivered}
	case MagicDrop:
		return &fate{outcome: OutcomeDropped}
	case MagicDropOut:
		return &fate{outcome: OutcomeDropped, out: true, life: delivered}
	case MagicGarbage:
		return &fate{outcome: OutcomeGarbage, out: true, life: delivered}
	case MagicNoSID:
		return &fate{outcome: OutcomeNoSID, out: true, life: delivered}
	case MagicNoCallbacks:
		return out(life{final: "delivered", silent: true})
	case MagicTwiceBackwards:
		return out(life{final: "delivered", twice: true, backwards: true})
	case MagicStuck:
		return out(life{final: "sent"})
	case MagicFailed:
		return out(life{final: "failed", code: 30001})
	case MagicUnreachable:
		return out(life{final: "undelivered", code: 30003})
	case MagicUnknownHandset:
		return out(life{final: "undelivered", code: 30005})
	case MagicLandline:
		return out(life{final: "undelivered", code: 30006})
	case MagicFiltered:
		return out(life{final: "undelivered", code: 30007})
	case MagicUndelivered:
		return out(life{final: "undelivered", code: 30008})
	case MagicAsyncOptedOut:
		return out(life{final: "failed", code: 21610})
	}
	return nil
}

// MagicNumbers returns every number that has a fate of its own.
func MagicNumbers() []string {
	return []string{
		MagicInvalid, MagicUnroutable, MagicRegionClosed, MagicOptedOut, MagicNotMobile,
		MagicBadToken, MagicUnlistedCode, MagicRateLimited, MagicServerError, MagicServerErrorOut, MagicUnavailable,
		MagicHang, MagicHangOut, MagicDrop, MagicDropOut, MagicGarbage, MagicNoSID, MagicRedirect,
		MagicNoCallbacks, MagicTwiceBackwards, MagicStuck, MagicFailed, MagicUnreachable, MagicUnknownHandset,
		MagicLandline, MagicFiltered, MagicUndelivered, MagicAsyncOptedOut,
	}
}

// magicSender is the error code of a sender of Twilio's test credentials, 0 for
// any other.
func magicSender(from string) int {
	switch from {
	case "+15005550001":
		return 21212 // invalid
	case "+15005550007":
		return 21606 // not ours
	case "+15005550008":
		return 21611 // its queue is full
	}
	return 0
}

// drawFate is the fate of a call that no magic number decides.
func (s *Sim) drawFate(to, body, ordinal string) fate {
	r := s.draws("call", to, body, ordinal)
	f := s.opts.Faults
	l := life{final: "delivered", backwards: chance(r, f.ReorderCallback)}
	if chance(r, f.Undelivered) {
		codes := []int{30003, 30005, 30008}
		l.final, l.code = "undelivered", codes[r.IntN(len(codes))]
	}
	kind, half := r.Float64(), chance(r, 0.5)
	switch {
	case kind < f.Drop:
		return fate{outcome: OutcomeDropped, out: half, life: l}
	case kind < f.Drop+f.ServerError:
		return fate{outcome: OutcomeServerError, status: 500, out: half, life: l}
	case kind < f.Drop+f.ServerError+f.Garbage:
		return fate{outcome: OutcomeGarbage, out: true, life: l}
	case kind < f.Drop+f.ServerError+f.Garbage+f.RateLimit:
		return fate{outcome: OutcomeRateLimited, status: 429, code: 20429}
	}
	return fate{outcome: OutcomeAccepted, out: true, life: l}
}
