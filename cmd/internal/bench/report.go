package bench

import (
	"math"
	"time"
)

// Report is what a run found.
type Report struct {
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Seconds   float64   `json:"seconds"`
	Size      string    `json:"size"` // full or quick
	Rounds    int       `json:"rounds"`
	Machine   Machine   `json:"machine"`
	Parts     []Part    `json:"parts"`
}

// Part is what one part found.
type Part struct {
	Name  string   `json:"name"`
	Title string   `json:"title"`
	Lines []*Line  `json:"lines"`
	Notes []string `json:"notes,omitempty"`
}

// Line is one way of doing the part's work. A figure that was not taken is absent.
type Line struct {
	Name string `json:"name"`

	PerSecond *Stat `json:"per_second,omitempty"`
	// Ratio is to the line named in RatioTo, within each round.
	Ratio   *Stat  `json:"ratio,omitempty"`
	RatioTo string `json:"ratio_to,omitempty"`
	P50     *Stat  `json:"p50_ms,omitempty"`
	P99     *Stat  `json:"p99_ms,omitempty"`
	// The same while several ask at once.
	BusyP50 *Stat `json:"busy_p50_ms,omitempty"`
	BusyP99 *Stat `json:"busy_p99_ms,omitempty"`
	// CPU time for each unit of work: of PostgreSQL, of our process, and of what drives it (pgbench, load generator).
	PostgresCPU *Stat `json:"postgres_cpu_us,omitempty"`
	ProcessCPU  *Stat `json:"process_cpu_us,omitempty"`
	DriverCPU   *Stat `json:"driver_cpu_us,omitempty"`
	// PeakRSS is the most memory that our process held since its start.
	PeakRSS *Stat `json:"peak_rss_mib,omitempty"`

	rounds map[figure][]float64
	ratios []float64
}

// figure is one column of a line.
type figure int

const (
	perSecond figure = iota
	p50
	p99
	busyP50
	busyP99
	postgresCPU
	processCPU
	driverCPU
	peakRSS
)

// line returns the part's line of this name, made at the first call.
func (p *Part) line(name string) *Line {
	for _, l := range p.Lines {
		if l.Name == name {
			return l
		}
	}
	l := &Line{Name: name, rounds: map[figure][]float64{}}
	p.Lines = append(p.Lines, l)
	return l
}

// note adds a sentence below the part's table, once.
func (p *Part) note(sentence string) {
	for _, n := range p.Notes {
		if n == sentence {
			return
		}
	}
	p.Notes = append(p.Notes, sentence)
}

// add takes one round's figure; NaN is none.
func (l *Line) add(f figure, v float64) {
	if !math.IsNaN(v) {
		l.rounds[f] = append(l.rounds[f], v)
	}
}

// compare ends a round: it takes the ratio of the two lines' newest rates.
func (l *Line) compare(floor *Line) {
	own, other := l.rounds[perSecond], floor.rounds[perSecond]
	if len(own) == 0 || len(other) == 0 || other[len(other)-1] == 0 {
		return
	}
	l.RatioTo = floor.Name
	l.ratios = append(l.ratios, own[len(own)-1]/other[len(other)-1])
}

// finish sums up the rounds.
func (r *Report) finish(begun time.Time) {
	r.Seconds = math.Round(time.Since(begun).Seconds()*10) / 10
	r.Machine.LoadAfter = loadAverage()
	for _, p := range r.Parts {
		for _, l := range p.Lines {
			l.sum()
		}
	}
}

func (l *Line) sum() {
	for f, to := range map[figure]**Stat{
		perSecond: &l.PerSecond, p50: &l.P50, p99: &l.P99, busyP50: &l.BusyP50, busyP99: &l.BusyP99,
		postgresCPU: &l.PostgresCPU, processCPU: &l.ProcessCPU, driverCPU: &l.DriverCPU, peakRSS: &l.PeakRSS,
	} {
		*to = statOf(l.rounds[f])
	}
	l.Ratio = statOf(l.ratios)
}
