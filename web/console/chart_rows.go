package console

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// rowValue is a bar of a row chart.
type rowValue struct {
	Name  string
	To    string  // where its name leads; "" nowhere
	Value float64 // its length
	Text  string  // its value in words
}

// rowChart is bars that lie, one a row, each with its name and value as text: good for names that are long and for few
// values. Several beside each other are small multiples; Top gives them one scale.
type rowChart struct {
	Title string
	Rows  []rowValue
	Top   float64 // of the scale; 0: the greatest value
	Tone  string  // a, b, c or d
}

// draw writes the chart. The bars are drawn, everything else is text.
func (c rowChart) draw() template.HTML {
	esc := template.HTMLEscapeString
	top := c.Top
	if top == 0 {
		for _, r := range c.Rows {
			top = math.Max(top, r.Value)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<figure class="chart row-chart"><figcaption><span class="chart-title">%s</span></figcaption><ul>`, esc(c.Title))
	for _, r := range c.Rows {
		share := 0.0
		if top > 0 {
			share = math.Min(1, math.Max(0, r.Value/top))
		}
		name := esc(r.Name)
		if r.To != "" {
			name = `<a href="` + esc(r.To) + `">` + name + `</a>`
		}
		tone := c.Tone
		if tone == "" {
			tone = "a"
		}
		fmt.Fprintf(&b, `<li><span class="row-name">%s</span><svg viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="%s: %s"><title>%s: %s</title><rect class="track" width="100" height="8"/><rect class="bar %s" width="%.2f" height="8"/></svg><span class="row-value">%s</span></li>`,
			name, esc(r.Name), esc(r.Text), esc(r.Name), esc(r.Text), esc(tone), 100*share, esc(r.Text))
	}
	b.WriteString(`</ul></figure>`)
	return template.HTML(b.String()) //nolint:gosec // numbers, and words that are escaped
}
