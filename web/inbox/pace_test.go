package inbox

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// sample is a queue with a committer that takes storing for each batch, and what came of it in virtual time.
type sample struct {
	*Inbox
	storing  time.Duration
	answered int
	batches  []int
}

func newSample(storing time.Duration) *sample {
	in := &Inbox{queue: queue{signal: make(chan struct{}, 1)}}
	in.opts = Options{QueueLength: defaultQueueLength, QueueBytes: defaultQueueBytes, MaxBatch: defaultMaxBatch, QueueTimeout: time.Hour}
	return &sample{Inbox: in, storing: storing}
}

// send waits for the answer.
func (s *sample) send(t *testing.T) {
	e := &entry{done: make(chan struct{}, 1)}
	if err := s.enqueue(e); err != nil {
		t.Error(err)
		return
	}
	<-e.done
	s.callers.Done()
}

// commit is a committer that paces its batches, or does not.
func (s *sample) commit(paced bool) {
	for {
		if _, open := <-s.queue.signal; !open {
			return
		}
		if paced {
			s.pause()
		}
		batch := s.gather()
		time.Sleep(s.storing)
		s.batches = append(s.batches, len(batch))
		s.answered += len(batch)
		s.answers.Add(1)
		for _, e := range batch {
			s.answer(e, Accepted, nil)
		}
	}
}

// inTurns has so many senders send for a while, each as soon as it was answered, and returns how many receipts were answered.
func inTurns(t *testing.T, senders int, storing time.Duration, paced bool) (answered int) {
	synctest.Test(t, func(t *testing.T) {
		s := newSample(storing)
		go s.commit(paced)
		end := time.Now().Add(10 * time.Second)
		for n := range senders {
			go func() {
				for time.Now().Before(end) {
					s.send(t)
					time.Sleep(time.Duration(n%10) * 100 * time.Microsecond) // on its way there and back
				}
			}()
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		close(s.queue.signal)
		answered = s.answered
	})
	return answered
}

// atRandom has receipts come at random times for a while, whether or not those before were answered, and returns how many
// there were to a batch.
func atRandom(t *testing.T, perSecond float64, storing time.Duration, paced bool) (perBatch float64) {
	synctest.Test(t, func(t *testing.T) {
		s := newSample(storing)
		go s.commit(paced)
		random := rand.New(rand.NewPCG(1, 2))
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			time.Sleep(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
			go s.send(t)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		close(s.queue.signal)
		perBatch = float64(s.answered) / float64(len(s.batches))
	})
	return perBatch
}

func TestPause_batchesOfWhatComesAtRandomAreLarger(t *testing.T) {
	for _, perSecond := range []float64{1000, 2000, 3000} {
		alone, paced := atRandom(t, perSecond, 2*time.Millisecond, false), atRandom(t, perSecond, 2*time.Millisecond, true)
		require.Greater(t, paced, 2*alone, perSecond)
		require.Greater(t, paced, 0.8*perSecond*maxPause.Seconds(), perSecond)
	}
}

func TestPause_fewReceiptsWaitForNothing(t *testing.T) {
	for _, perSecond := range []float64{10, 100} {
		require.InDelta(t, atRandom(t, perSecond, 2*time.Millisecond, false), atRandom(t, perSecond, 2*time.Millisecond, true), 0.01, perSecond)
	}
	require.Less(t, atRandom(t, 200, 2*time.Millisecond, true), 1.5)
}

// Senders that wait for their answers send no more because the inbox waits for them.
func TestPause_sendersInTurnAreNotSlowedDown(t *testing.T) {
	for _, senders := range []int{1, 2, 3, 4, 8, 16, 31, 32, 40, 64, 256} {
		alone, paced := inTurns(t, senders, 2*time.Millisecond, false), inTurns(t, senders, 2*time.Millisecond, true)
		require.Greater(t, float64(paced), 0.9*float64(alone), senders)
	}
}

// Those that stop to send in turns are paced again.
func TestPause_comesBack(t *testing.T) {
	var p pace
	now := time.Now()
	at := func(d time.Duration, count int64) time.Duration {
		return p.next(now.Add(d), count, 1).Sub(now.Add(d))
	}
	at(0, 0)
	p.began = now.Add(time.Second)
	require.Equal(t, maxPause, at(time.Second, 1000), "1,000 a second")
	p.paused(now.Add(time.Second), maxPause/2, 5)
	p.paused(now.Add(time.Second), maxPause/2, 5)
	p.paused(now.Add(time.Second), maxPause/2, 5)
	p.paused(now.Add(time.Second), maxPause/2, 5)
	require.Positive(t, at(time.Second+1, 1000), "as many come as expected")
	for range 4 {
		p.paused(now.Add(time.Second), maxPause/2, 0)
	}
	require.LessOrEqual(t, at(time.Second+time.Millisecond, 1001), time.Duration(0), "nobody comes")
	p.began = now.Add(2*time.Second + 2*time.Millisecond)
	require.Equal(t, maxPause, at(2*time.Second+2*time.Millisecond, 2002), "a second later")
}

// pausing begins a whole pause, and tells how long it took.
func (s *sample) pausing() <-chan time.Duration {
	began, paused := time.Now(), make(chan time.Duration)
	s.pace.rate, s.pace.last, s.pace.began = fullPauseAt, began, began
	go func() {
		s.pause()
		paused <- time.Since(began)
	}()
	return paused
}

func TestPause_endsWhenEnoughWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSample(time.Millisecond)
		for range enough - 1 {
			go s.send(t)
		}
		synctest.Wait()
		paused := s.pausing()
		time.Sleep(time.Millisecond)
		go s.send(t)
		require.Equal(t, time.Millisecond, <-paused)
		go s.commit(false)
		synctest.Wait()
		time.Sleep(time.Second)
		close(s.queue.signal)
	})
}

func TestPause_endsAtTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSample(time.Millisecond)
		paused := s.pausing()
		time.Sleep(time.Millisecond)
		s.closeQueue(true)
		require.Equal(t, time.Millisecond, <-paused)
	})
}
