// Package recipienttime answers when a recipient may be written to: quiet hours in the recipient's own
// time zone, through every change of the clock. Where the zone is not known for certain it names every
// zone that it may be, and all of them must be open. It does no I/O and reads no clock; it imports the
// standard library and phonenumbers (for the zones of an area code) alone.
package recipienttime

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Off is the setting that switches quiet hours off.
const Off = "off"

const minutesPerDay = 24 * 60

// Window is the part of each day in which messages may be sent, by the recipient's clock. The zero
// Window is never open.
type Window struct {
	from, to int // minutes after midnight; open from the first, closed at the second
	always   bool
}

// ParseWindow reads "08:00-21:00", open from the first time and closed at the second, or "off" (always
// open). The end may be 24:00. A window over midnight is refused: no law on quiet hours asks for one, and
// it is most often the two times swapped.
func ParseWindow(s string) (Window, error) {
	s = strings.TrimSpace(s)
	if strings.EqualFold(s, Off) {
		return Window{always: true}, nil
	}
	first, second, ok := strings.Cut(s, "-")
	if !ok {
		return Window{}, fmt.Errorf("quiet hours %q: want the open hours as 08:00-21:00, or %s", s, Off)
	}
	from, err := parseClock(first)
	if err != nil {
		return Window{}, fmt.Errorf("quiet hours %q: %w", s, err)
	}
	to, err := parseClock(second)
	if err != nil {
		return Window{}, fmt.Errorf("quiet hours %q: %w", s, err)
	}
	switch {
	case from == to:
		return Window{}, fmt.Errorf("quiet hours %q: the window is empty; to send at any hour write %s", s, Off)
	case from > to:
		return Window{}, fmt.Errorf("quiet hours %q: the window may not pass midnight; the hours named are those in which sending is allowed", s)
	}
	return Window{from: from, to: to}, nil
}

var errClock = errors.New("a time is written HH:MM, from 00:00 to 24:00")

// parseClock reads HH:MM as minutes after midnight.
func parseClock(s string) (int, error) {
	s = strings.TrimSpace(s)
	if len(s) != len("00:00") || s[2] != ':' {
		return 0, errClock
	}
	h, errHour := strconv.ParseUint(s[:2], 10, 8)
	m, errMinute := strconv.ParseUint(s[3:], 10, 8)
	minutes := int(h)*60 + int(m)
	if errHour != nil || errMinute != nil || m > 59 || minutes > minutesPerDay {
		return 0, errClock
	}
	return minutes, nil
}

// String is the window as [ParseWindow] reads it.
func (w Window) String() string {
	if w.always {
		return Off
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", w.from/60, w.from%60, w.to/60, w.to%60)
}

// Open reports whether the window is open at a time in every zone.
func (w Window) Open(at time.Time, zones []*time.Location) bool {
	if w.never() {
		return false
	}
	for _, z := range zones {
		if !w.openIn(at.In(z)) {
			return false
		}
	}
	return true
}

// never holds for the zero Window alone.
func (w Window) never() bool { return !w.always && w.from >= w.to }

func (w Window) openIn(local time.Time) bool {
	if w.always {
		return true
	}
	h, m, _ := local.Clock()
	minute := h*60 + m
	return minute >= w.from && minute < w.to
}

// horizon bounds the search of [NextOpen]: a year and a day holds every change of the clock, so zones
// that have no common open minute in it never have one.
const horizon = 366 * 24 * time.Hour

// NextOpen returns the earliest time, not before now, at which the window is open in every zone: now
// itself where it is, else the start of a minute. It reports false when there is none within a year: a
// window too narrow for zones too far apart (10:00-18:00 from Kaliningrad to Kamchatka). With no zone
// there is nothing to wait for, so the result is now.
func NextOpen(now time.Time, w Window, zones []*time.Location) (time.Time, bool) {
	if w.always {
		return now, true
	}
	if w.never() {
		return time.Time{}, false
	}
	limit := now.Add(horizon)
	at := now
	for settled := 0; settled < len(zones); {
		// Round the zones until a whole round moves nothing. Each step goes to the earliest time at which
		// that zone is open, so no common open minute is passed over.
		settled = 0
		for _, z := range zones {
			next := w.nextIn(at, z)
			if next.Equal(at) {
				settled++
			}
			at = next
		}
		if at.After(limit) {
			return time.Time{}, false
		}
	}
	return at.In(now.Location()), true
}

// nextIn is the earliest time, not before at, that is open in one zone. Within a span of one offset the
// local clock runs evenly, so the opening is found by subtraction; where the span ends first (the clock
// jumps, perhaps right over the opening or back before it), the search goes on from its end.
func (w Window) nextIn(at time.Time, zone *time.Location) time.Time {
	for {
		local := at.In(zone)
		if w.openIn(local) {
			return at
		}
		h, m, s := local.Clock()
		sinceMidnight := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute +
			time.Duration(s)*time.Second + time.Duration(local.Nanosecond())
		wait := time.Duration(w.from)*time.Minute - sinceMidnight
		if wait < 0 {
			wait += 24 * time.Hour
		}
		opening := at.Add(wait)
		_, end := local.ZoneBounds()
		switch {
		case end.IsZero() || opening.Before(end):
			return opening
		case end.After(at):
			at = end
		default:
			// On 31 December of leap years Go 1.26 names an end that is past already, for zones whose future is
			// a rule and not a table (in its own zone data: every one to come). Minute by minute, no end is needed.
			at = at.Truncate(time.Minute).Add(time.Minute)
		}
	}
}
