package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// What operators may have to wait for, at the 99th percentile. Analytics add up millions of facts.
const (
	listAim      = 50 * time.Millisecond
	analyticsAim = 200 * time.Millisecond
)

// apiAtOnce is how many operators ask at a time in the second half of each measurement.
const apiAtOnce = 4

// api measures what operators wait for: the API's lists, searches and analytics, and the console's pages, over HTTP, each
// asked about another part of the data every time. One after another, then several at once.
func (b *bench) api(ctx context.Context, p *Part) error {
	p.note(fmt.Sprintf("each question alone, request after request; busy: %d at once. One round of %d requests each, since the data takes minutes to make",
		apiAtOnce, b.size.apiRequests))
	if b.opts.AsIs {
		p.note("the database as it was given")
	} else if err := b.apiData(ctx, p); err != nil {
		return err
	}
	return b.apiRound(ctx, p)
}

func (b *bench) apiRound(ctx context.Context, p *Part) (err error) {
	data, err := b.sample(ctx)
	if err != nil {
		return err
	}
	token, revoke, err := b.apiToken(ctx)
	if err != nil {
		return err
	}
	defer revoke()
	var ready appReady
	web, err := b.start(ctx, roleWeb, appSettings{DatabaseURL: b.dsn}, &ready)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, web) }()
	visitor, err := newVisitor("http://"+ready.Private, token)
	if err != nil {
		return err
	}
	defer visitor.close()
	if err := visitor.login(ctx); err != nil {
		return err
	}
	if data.deep, err = visitor.deepCursors(ctx, b.size.apiDeep); err != nil {
		return err
	}
	if err := b.profile(web, "api"); err != nil {
		return err
	}
	var slow []string
	worst, worstLine := 0.0, ""
	for n, q := range apiQuestions(data) {
		b.step(PartAPI, 0, q.name)
		took, busy, err := visitor.measure(ctx, q, b.size, rand.New(rand.NewPCG(1, uint64(n))))
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		l := p.line(q.name)
		l.add(p50, milliseconds(percentile(took, 0.5)))
		l.add(p99, milliseconds(percentile(took, 0.99)))
		l.add(busyP50, milliseconds(percentile(busy, 0.5)))
		l.add(busyP99, milliseconds(percentile(busy, 0.99)))
		at := milliseconds(percentile(took, 0.99))
		if at > worst {
			worst, worstLine = at, q.name
		}
		if at > milliseconds(q.aim) {
			slow = append(slow, fmt.Sprintf("%s (%s ms)", q.name, number(at)))
		}
	}
	if err := b.profiled(web); err != nil {
		return err
	}
	p.line("web, after all of them").add(peakRSS, peak(web.pid()))
	p.note(fmt.Sprintf("slowest: %s, p99 %s ms", worstLine, number(worst)))
	aims := fmt.Sprintf("p99 over %.0f ms (analytics: %.0f ms)", milliseconds(listAim), milliseconds(analyticsAim))
	if len(slow) == 0 {
		slow = []string{"none"}
	}
	p.note(aims + ": " + strings.Join(slow, ", "))
	return nil
}

// measure asks a question again and again: alone, then with others of its kind at the same time.
func (v *visitor) measure(ctx context.Context, q apiQuestion, s size, random *rand.Rand) (alone, busy []time.Duration, err error) {
	// The first may wait for a connection and for a plan.
	for range 2 {
		if _, err := v.ask(ctx, q, q.path(random)); err != nil {
			return nil, nil, err
		}
	}
	for until := time.Now().Add(s.apiPatience); len(alone) < s.apiRequests && (len(alone) < s.apiAtLeast || time.Now().Before(until)); {
		took, err := v.ask(ctx, q, q.path(random))
		if err != nil {
			return nil, nil, err
		}
		alone = append(alone, took)
	}
	paths := make(chan string, s.apiRequests)
	for range s.apiRequests {
		paths <- q.path(random)
	}
	close(paths)
	var mu sync.Mutex
	var wg sync.WaitGroup
	until := time.Now().Add(s.apiPatience)
	for range apiAtOnce {
		wg.Go(func() {
			for path := range paths {
				took, askErr := v.ask(ctx, q, path)
				mu.Lock()
				busy = append(busy, took)
				if askErr != nil && err == nil {
					err = askErr
				}
				enough := err != nil || len(busy) >= s.apiAtLeast && time.Now().After(until)
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	wg.Wait()
	return alone, busy, err
}
