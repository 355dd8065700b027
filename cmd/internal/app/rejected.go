package app

import (
	"slices"
	"strings"
	"sync"
	"time"

	"onward/web/console"
	"onward/web/webhook"
)

// rejections counts, by the minute of the last hour, the webhooks that were refused for their signature. They leave no row:
// whoever can't sign must not be able to fill the database.
type rejections struct {
	clock func() time.Time

	mu sync.Mutex
	by map[[2]string]*[60]refusedMinute // provider, result
}

type refusedMinute struct {
	minute int64 // Unix time in minutes
	n      int
	last   time.Time
}

func newRejections(clock func() time.Time) *rejections {
	return &rejections{clock: clock, by: map[[2]string]*[60]refusedMinute{}}
}

func (r *rejections) observe(a webhook.Answered) {
	if a.Result != webhook.ResultBadSignature && a.Result != webhook.ResultStaleTimestamp {
		return
	}
	now := r.clock()
	minute := now.Unix() / 60
	r.mu.Lock()
	defer r.mu.Unlock()
	key := [2]string{a.Provider, a.Result} // both of closed sets
	if r.by[key] == nil {
		r.by[key] = &[60]refusedMinute{}
	}
	m := &r.by[key][minute%60]
	if m.minute != minute {
		*m = refusedMinute{minute: minute}
	}
	m.n++
	m.last = now
}

// lastHour lists what was refused within the last hour.
func (r *rejections) lastHour() []console.Rejected {
	oldest := r.clock().Unix()/60 - 59
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []console.Rejected
	for key, minutes := range r.by {
		found := console.Rejected{Provider: key[0], Result: key[1]}
		for _, m := range minutes {
			if m.minute < oldest {
				continue
			}
			found.Count += m.n
			if m.last.After(found.Last) {
				found.Last = m.last
			}
		}
		if found.Count > 0 {
			list = append(list, found)
		}
	}
	slices.SortFunc(list, func(a, b console.Rejected) int { return strings.Compare(a.Provider+a.Result, b.Provider+b.Result) })
	return list
}
