package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"onward/cmd/internal/rawconn"
)

// loadSettings are those of the load generator: callbacks of messages First and following, over keep-alive connections.
type loadSettings struct {
	Address     string        `json:"address"`
	Base        int64         `json:"base"`
	First       int64         `json:"first"`
	Count       int           `json:"count"` // at most
	Connections int           `json:"connections"`
	WarmUp      time.Duration `json:"warm_up"` // closed loop alone
	Lasts       time.Duration `json:"lasts"`
	// PerSecond is the rate of an open loop, whose callbacks come at random times (Poisson), by Seed, whether or not those
	// before were answered. 0: a closed loop, each connection sends as soon as it has its answer.
	PerSecond float64 `json:"per_second,omitempty"`
	Seed      uint64  `json:"seed,omitempty"`
}

// loadResult is what came of it.
type loadResult struct {
	Answered int           `json:"answered"` // 2xx, while it was measured
	Refused  int           `json:"refused"`  // everything else, ever
	Error    string        `json:"error,omitempty"`
	Took     time.Duration `json:"took"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
	Sent     []sent        `json:"sent,omitempty"` // open loop
}

// sent is one callback of an open loop: when it was due to leave and when its answer was there, in Unix nanoseconds; 0: none.
type sent struct {
	N        int64 `json:"n"`
	At       int64 `json:"at"`
	Answered int64 `json:"answered"`
}

// The steps of a load generator, as its parent hears them.
type loadStep struct {
	Step   string      `json:"step"` // ready, measuring, done
	Result *loadResult `json:"result,omitempty"`
}

// load signs, waits for the word and sends.
func (c *childProcess) load(ctx context.Context) error {
	var s loadSettings
	if err := c.settings(&s); err != nil {
		return err
	}
	// One thread is enough to saturate the other side, and leaves it the rest of the machine.
	runtime.GOMAXPROCS(1)
	g := newGenerator(s)
	defer g.close()
	if err := c.out.Encode(loadStep{Step: "ready"}); err != nil {
		return err
	}
	if _, err := c.next(ctx); err != nil {
		return err
	}
	if err := g.run(ctx, func() error { return c.out.Encode(loadStep{Step: "measuring"}) }); err != nil {
		return err
	}
	return c.out.Encode(loadStep{Step: "done", Result: &g.result})
}

// generator sends signed callbacks.
type generator struct {
	settings   loadSettings
	signatures []signature
	senders    []*callbackSender

	next    atomic.Int64
	phase   atomic.Int32
	result  loadResult
	refused atomic.Int64
	broken  atomic.Pointer[string] // the first refusal
}

// The phases of a closed loop.
const (
	warming int32 = iota
	measuring
	over
)

func newGenerator(s loadSettings) *generator {
	g := &generator{settings: s, signatures: make([]signature, s.Count)}
	signer := newCallbacks(s.Base, s.Address)
	for i := range g.signatures {
		g.signatures[i] = signer.sign(s.First + int64(i))
	}
	for range s.Connections {
		g.senders = append(g.senders, &callbackSender{callbacks: newCallbacks(s.Base, s.Address), address: s.Address})
	}
	return g
}

// connect opens the connections. Not long before they are used: one that nothing comes over for five seconds is closed on.
func (g *generator) connect(ctx context.Context) error {
	for _, s := range g.senders {
		if err := s.dial(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) close() {
	for _, s := range g.senders {
		s.close()
	}
}

func (g *generator) run(ctx context.Context, measures func() error) error {
	err := g.connect(ctx)
	if err != nil {
		return err
	}
	var times []time.Duration
	if g.settings.PerSecond > 0 {
		times, err = g.openLoop(ctx, measures)
	} else {
		times, err = g.closedLoop(ctx, measures)
	}
	if err != nil {
		return err
	}
	g.result.Answered = len(times)
	g.result.Refused = int(g.refused.Load())
	if text := g.broken.Load(); text != nil {
		g.result.Error = *text
	}
	g.result.P50, g.result.P99 = percentile(times, 0.5), percentile(times, 0.99)
	return nil
}

// closedLoop returns how long each answer took that was asked for while it measured.
func (g *generator) closedLoop(ctx context.Context, measures func() error) ([]time.Duration, error) {
	times := make([][]time.Duration, len(g.senders))
	var wg sync.WaitGroup
	for k, s := range g.senders {
		wg.Go(func() {
			for ctx.Err() == nil {
				phase := g.phase.Load()
				i := g.next.Add(1) - 1
				if phase == over || i >= int64(len(g.signatures)) {
					return
				}
				begun := time.Now()
				if g.post(ctx, s, i) && phase == measuring {
					times[k] = append(times[k], time.Since(begun))
				}
			}
		})
	}
	err := sleep(ctx, g.settings.WarmUp)
	begun := time.Now()
	g.phase.Store(measuring)
	if err == nil {
		err = measures()
	}
	if err == nil {
		err = sleep(ctx, g.settings.Lasts)
	}
	g.phase.Store(over)
	wg.Wait()
	g.result.Took = time.Since(begun)
	var all []time.Duration
	for _, t := range times {
		all = append(all, t...)
	}
	return all, err
}

// openLoop returns how long each answer took from when its callback was due.
func (g *generator) openLoop(ctx context.Context, measures func() error) ([]time.Duration, error) {
	due := make(chan int, len(g.signatures))
	g.result.Sent = make([]sent, 0, len(g.signatures))
	var wg sync.WaitGroup
	list := make([]sent, len(g.signatures))
	for _, s := range g.senders {
		wg.Go(func() {
			for i := range due {
				if g.post(ctx, s, int64(i)) {
					list[i].Answered = time.Now().UnixNano()
				}
			}
		})
	}
	err := measures()
	random := rand.New(rand.NewPCG(g.settings.Seed, 1))
	begun := time.Now()
	n := 0
	for at := begun; err == nil && n < len(list); n++ {
		at = at.Add(time.Duration(random.ExpFloat64() / g.settings.PerSecond * float64(time.Second)))
		if at.Sub(begun) > g.settings.Lasts {
			break
		}
		if wait := time.Until(at); wait > 0 {
			err = sleep(ctx, wait)
		}
		// Now, and not when it was planned: that a timer fires late is the generator's fault. That no connection is free
		// is not.
		list[n].N, list[n].At = g.settings.First+int64(n), time.Now().UnixNano()
		due <- n
	}
	close(due)
	wg.Wait()
	g.result.Took = time.Since(begun)
	g.result.Sent = list[:n]
	var times []time.Duration
	for _, s := range g.result.Sent {
		if s.Answered > 0 {
			times = append(times, time.Duration(s.Answered-s.At))
		}
	}
	return times, err
}

// post sends the i-th callback and reports whether it was accepted.
func (g *generator) post(ctx context.Context, s *callbackSender, i int64) bool {
	status, err := s.post(ctx, g.settings.First+i, g.signatures[i])
	if err == nil && status/100 == 2 {
		return true
	}
	text := fmt.Sprintf("status %d", status)
	if err != nil {
		text = err.Error()
	}
	g.refused.Add(1)
	g.broken.CompareAndSwap(nil, &text)
	return false
}

// callbackSender posts over one keep-alive connection. net/http would cost the machine as much as the server does.
type callbackSender struct {
	callbacks *callbacks
	address   string
	conn      net.Conn
	in        *bufio.Reader
	out       []byte
	by        time.Time // the connection's deadline
}

// answerPatience is longer than the slowest answer: an opt-out's.
const answerPatience = 20 * time.Second

func (s *callbackSender) dial(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("connect to the web process: %w", err)
	}
	conn = rawconn.Of(conn) // what the generator takes of the machine, web and worker don't have
	s.conn, s.by, s.in = conn, time.Time{}, bufio.NewReaderSize(conn, 1<<10)
	return nil
}

func (s *callbackSender) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

func (s *callbackSender) post(ctx context.Context, n int64, signed signature) (status int, err error) {
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return 0, err
		}
	}
	s.out = s.callbacks.appendRequest(s.out[:0], n, signed)
	// A deadline is a lock and a timer: it is set anew when half of its time is over, and not for each request.
	if now := time.Now(); s.by.Sub(now) < answerPatience {
		s.by = now.Add(2 * answerPatience)
		_ = s.conn.SetDeadline(s.by)
	}
	keep := false
	if _, err = s.conn.Write(s.out); err == nil {
		status, keep, err = readAnswer(s.in)
	}
	if err != nil || !keep {
		s.close()
	}
	return status, err
}

var errAnswer = errors.New("not an HTTP/1.1 answer")

// readAnswer reads one answer whole; keep says whether the connection may be used again.
func readAnswer(in *bufio.Reader) (status int, keep bool, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, false, errAnswer
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, false, errAnswer
	}
	keep = true
	length := 0
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return status, false, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return status, false, errAnswer
			}
		case bytes.EqualFold(name, []byte("Connection")):
			keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
	if _, err := in.Discard(length); err != nil {
		return status, false, err
	}
	return status, keep, nil
}
