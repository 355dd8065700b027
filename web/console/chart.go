package console

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// Charts are SVG that the server draws: no script, nothing that a strict policy forbids, as good on paper. Their words
// are HTML beside the drawing, so that they keep their size at any width. Each has its numbers in a table beneath.

// series are the values of one line or one kind of bar.
type series struct {
	Name   string
	Values []float64
	Tone   string // of the line: a, b, c or d
}

// chart is what a line or bar chart shows.
type chart struct {
	Title  string
	Unit   string      // after values: "/min", "ms"
	At     []time.Time // in the visitor's zone: what the pointer meets tells it as it is
	Labels []string    // instead of At
	Series []series
}

// Geometry of the drawing, stretched to whatever place there is; strokes keep their width.
const (
	chartWidth  = 600.0
	chartHeight = 120.0
)

// top is the value at the upper edge: round, and never 0.
func (c chart) top() float64 {
	highest := 0.0
	for _, s := range c.Series {
		for _, v := range s.Values {
			highest = math.Max(highest, v)
		}
	}
	return roundUp(highest)
}

// stackedTop is the same where bars stand on each other.
func (c chart) stackedTop() float64 {
	highest := 0.0
	for i := range c.size() {
		sum := 0.0
		for _, s := range c.Series {
			sum += s.Values[i]
		}
		highest = math.Max(highest, sum)
	}
	return roundUp(highest)
}

func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	magnitude := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 4, 5, 10} {
		if step*magnitude >= v {
			return step * magnitude
		}
	}
	return v
}

func (c chart) size() int {
	n := 0
	for _, s := range c.Series {
		n = max(n, len(s.Values))
	}
	return n
}

// lineChart draws a line for each series.
func lineChart(c chart) template.HTML {
	n, top := c.size(), c.top()
	var b strings.Builder
	c.begin(&b, top)
	x := func(i int) float64 { return chartWidth * float64(i) / math.Max(1, float64(n-1)) }
	y := func(v float64) float64 { return chartHeight * (1 - v/top) }
	for k, s := range c.Series {
		var points, area strings.Builder
		for i, v := range s.Values {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(i), y(v))
		}
		if k == 0 {
			fmt.Fprintf(&area, "0,%.0f %s%.0f,%.0f", chartHeight, points.String(), chartWidth, chartHeight)
			fmt.Fprintf(&b, `<polygon class="area %s" points="%s"/>`, toneOf(s, k), area.String())
		}
		fmt.Fprintf(&b, `<polyline class="line %s" points="%s"/>`, toneOf(s, k), strings.TrimSpace(points.String()))
	}
	width := chartWidth / math.Max(1, float64(n))
	c.hits(&b, n, width)
	c.end(&b)
	return template.HTML(b.String()) //nolint:gosec // numbers, and words that are escaped
}

// barChart draws bars, those of several series on top of each other.
func barChart(c chart) template.HTML {
	n, top := c.size(), c.stackedTop()
	var b strings.Builder
	c.begin(&b, top)
	width := chartWidth / math.Max(1, float64(n))
	for i := range n {
		base := chartHeight
		for k, s := range c.Series {
			h := chartHeight * s.Values[i] / top
			if h <= 0 {
				continue
			}
			base -= h
			fmt.Fprintf(&b, `<rect class="bar %s" x="%.2f" y="%.2f" width="%.2f" height="%.2f"/>`, toneOf(s, k), float64(i)*width+width*0.12, base, width*0.76, h)
		}
	}
	c.hits(&b, n, width)
	c.end(&b)
	return template.HTML(b.String()) //nolint:gosec // numbers, and words that are escaped
}

func toneOf(s series, i int) string {
	if s.Tone != "" {
		return s.Tone
	}
	return string(rune('a' + i%4))
}

func (c chart) begin(b *strings.Builder, top float64) {
	esc := template.HTMLEscapeString
	fmt.Fprintf(b, `<figure class="chart"><figcaption><span class="chart-title">%s</span><span class="legend">`, esc(c.Title))
	for k, s := range c.Series {
		fmt.Fprintf(b, `<span class="key %s">%s</span>`, toneOf(s, k), esc(s.Name))
	}
	fmt.Fprintf(b, `</span></figcaption><div class="plot"><div class="axis-y" aria-hidden="true"><span>%s</span><span>%s</span><span>0</span></div>`,
		esc(c.value(top)), esc(c.value(top/2)))
	fmt.Fprintf(b, `<svg viewBox="0 0 %.0f %.0f" preserveAspectRatio="none" role="img" aria-label="%s">`, chartWidth, chartHeight, esc(c.summary()))
	for _, f := range []float64{0, 0.5, 1} {
		fmt.Fprintf(b, `<line class="grid" x1="0" x2="%.0f" y1="%.1f" y2="%.1f"/>`, chartWidth, chartHeight*f, chartHeight*f)
	}
}

// hits are what the pointer meets: one for each place, as high as the drawing, that tells the values there.
func (c chart) hits(b *strings.Builder, n int, width float64) {
	for i := range n {
		var tell []string
		for _, s := range c.Series {
			if i < len(s.Values) {
				tell = append(tell, s.Name+" "+c.value(s.Values[i])+c.unit())
			}
		}
		fmt.Fprintf(b, `<rect class="hit" x="%.2f" y="0" width="%.2f" height="%.0f"><title>%s: %s</title></rect>`,
			float64(i)*width, width, chartHeight, template.HTMLEscapeString(c.place(i)), template.HTMLEscapeString(strings.Join(tell, ", ")))
	}
}

func (c chart) end(b *strings.Builder) {
	n := c.size()
	b.WriteString(`</svg><div class="axis-x" aria-hidden="true">`)
	if n > 0 {
		fmt.Fprintf(b, `<span>%s</span><span>%s</span><span>%s</span>`, c.tick(0), c.tick(n/2), c.tick(n-1))
	}
	b.WriteString(`</div></div></figure>`)
}

func (c chart) tick(i int) string {
	if i < len(c.Labels) {
		return template.HTMLEscapeString(c.Labels[i])
	}
	if i >= len(c.At) {
		return ""
	}
	t := c.At[i]
	kind := "data-clock"
	form := "15:04"
	if len(c.At) > 1 && c.At[1].Sub(c.At[0]) >= 24*time.Hour {
		kind, form = "data-daymonth", "2 Jan"
	}
	return `<time datetime="` + t.Format(time.RFC3339) + `" ` + kind + `>` + t.Format(form) + `</time>`
}

func (c chart) place(i int) string {
	if i < len(c.Labels) {
		return c.Labels[i]
	}
	if i < len(c.At) {
		if len(c.At) > 1 && c.At[1].Sub(c.At[0]) >= 24*time.Hour {
			return c.At[i].Format("Mon 2 Jan 2006")
		}
		return c.At[i].Format("15:04 MST")
	}
	return strconv.Itoa(i + 1)
}

func (c chart) unit() string {
	if c.Unit == "" || strings.HasPrefix(c.Unit, "/") {
		return c.Unit
	}
	return " " + c.Unit
}

func (c chart) value(v float64) string {
	switch {
	case v != 0 && math.Abs(v) < 10 && v != math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 1, 64)
	case math.Abs(v) >= 1e6:
		return strconv.FormatFloat(v/1e6, 'f', -1, 64) + " M"
	}
	return count(v)
}

// summary is the chart for those who do not see it.
func (c chart) summary() string {
	var parts []string
	for _, s := range c.Series {
		highest, last := 0.0, 0.0
		for _, v := range s.Values {
			highest, last = math.Max(highest, v), v
		}
		parts = append(parts, fmt.Sprintf("%s: now %s%s, at most %s%s", s.Name, c.value(last), c.unit(), c.value(highest), c.unit()))
	}
	return c.Title + ". " + strings.Join(parts, "; ")
}

// meter draws a share of a whole as a bar of a line's height.
func meter(part, whole any, tone string) template.HTML {
	p, w := number(part), number(whole)
	share := 0.0
	if w > 0 {
		share = math.Min(1, math.Max(0, p/w))
	}
	return template.HTML(fmt.Sprintf( //nolint:gosec // numbers
		`<svg class="meter %s" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="6"/><rect class="fill" width="%.2f" height="6"/></svg>`,
		template.HTMLEscapeString(tone), 100*share))
}

// spark draws a line without axes, of the height of text.
func spark(values []float64) template.HTML {
	top := chart{Series: []series{{Values: values}}}.top()
	var points strings.Builder
	for i, v := range values {
		fmt.Fprintf(&points, "%.1f,%.1f ", 100*float64(i)/math.Max(1, float64(len(values)-1)), 19-18*v/top)
	}
	return template.HTML(`<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true"><polyline class="line a" points="` + //nolint:gosec // numbers
		strings.TrimSpace(points.String()) + `"/></svg>`)
}
