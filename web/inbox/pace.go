package inbox

import "time"

// Whatever a batch holds, it costs a transaction here, a fetch and a transaction of the worker. From some hundred receipts a
// second on it therefore begins up to maxPause after the one before; below that, and as soon as enough wait, at once.
const (
	maxPause    = 10 * time.Millisecond
	pausesFrom  = 300.0 // receipts a second
	fullPauseAt = 800.0
	enough      = 32
)

// rateMemory is how far back the rate of receipts looks.
const rateMemory = 100 * time.Millisecond

// Where every sender waits for an answer before it sends again, a pause that goes on when all of them wait brings nothing and
// slows them down. So receipts are counted that come in the second halves of pauses in which nobody was answered: there must
// be a quarter of what the rate lets expect, or there is no pause for noPause.
const (
	enoughExpected = 16.0
	noPause        = time.Second
)

// pace says when batches begin. It has no clock of its own.
type pace struct {
	rate  float64   // receipts a second
	last  time.Time // when they were counted
	count int64     // how many had come by then

	began    time.Time // the last batch
	expected float64   // receipts in second halves of pauses, by the rate
	came     int64     // and in truth
	until    time.Time // there is no pause
}

// next is when the next batch may begin; not after now: at once. So many receipts came until now, of which so many wait.
func (p *pace) next(now time.Time, count int64, waiting int) time.Time {
	if took := now.Sub(p.last); took > 0 {
		share := min(1, took.Seconds()/rateMemory.Seconds())
		p.rate += share * (float64(count-p.count)/took.Seconds() - p.rate)
		p.last, p.count = now, count
	}
	if waiting >= enough || now.Before(p.until) {
		return now
	}
	share := (p.rate - pausesFrom) / (fullPauseAt - pausesFrom)
	return p.began.Add(time.Duration(min(1, max(0, share)) * float64(maxPause)))
}

// paused tells how many receipts came in the second half of a pause, which took so long.
func (p *pace) paused(now time.Time, half time.Duration, came int64) {
	p.expected += p.rate * half.Seconds()
	p.came += came
	if p.expected < enoughExpected {
		return
	}
	if float64(p.came) < p.expected/4 {
		p.until = now.Add(noPause)
	}
	p.expected, p.came = 0, 0
}

// pause waits until the next batch may begin. Its caller has the turn.
func (i *Inbox) pause() {
	now := time.Now()
	next := i.pace.next(now, i.queue.count(), i.queue.len())
	if wait := next.Sub(now); wait > 0 && !i.queue.fills(wait/2) {
		middle, count, answers := time.Now(), i.queue.count(), i.answers.Load()
		// Whoever is answered meanwhile may send for that reason: such a half says nothing.
		if !i.queue.fills(next.Sub(middle)) && i.answers.Load() == answers {
			now = time.Now()
			i.pace.paused(now, now.Sub(middle), i.queue.count()-count)
		}
	}
	i.pace.began = time.Now()
}
