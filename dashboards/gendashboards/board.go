package main

import "fmt"

// board is a dashboard as it is written here: sections of charts, laid out from left to right and top to bottom.
type board struct {
	name, title, about string
	sections           []section
}

type section struct {
	title  string
	charts []chart
}

// kind is what a chart looks like.
type kind string

const (
	number kind = "stat"       // the latest value, coloured by its limits
	lines  kind = "timeseries" // values over time
	bars   kind = "bargauge"   // the latest values, side by side
	table  kind = "table"      // labels and the latest value, a row a series
)

// Units, as Grafana names them.
const (
	seconds    = "s"
	share      = "percentunit" // 0 to 1
	count      = "short"
	perSecond  = "ops"
	bytesIEC   = "bytes"
	timestamps = "dateTimeFromNow" // of milliseconds
)

// chart is one panel.
type chart struct {
	kind          kind
	title, about  string
	unit          string
	width, height int // of 24 columns, and of rows of 30 pixels; 0: as is usual for its kind
	queries       []query
	limits        limits
	stacked       bool
	max           float64        // of the axis; 0: as it comes
	words         map[int]string // shown for these values; red for those the limits call bad
	noData        string         // shown where a query has no answer
	hidden        []string       // columns that a table leaves out
}

// query is PromQL with the name of its series.
type query struct{ expr, legend string }

// limits colour values and draw lines: yellow from warn, red from bad. A zero limit is none, but for below: then what
// is under bad is red, and what is under warn yellow.
type limits struct {
	warn, bad float64
	below     bool
}

func (l limits) thresholds() thresholds {
	t := thresholds{Mode: "absolute", Steps: []step{{Color: "green"}}}
	at := func(color string, v float64) { t.Steps = append(t.Steps, step{Color: color, Value: &v}) }
	switch {
	case l.below:
		t.Steps[0].Color = "red"
		if l.warn > l.bad {
			at("yellow", l.bad)
			at("green", l.warn)
		} else {
			at("green", l.bad)
		}
	default:
		if l.warn != 0 {
			at("yellow", l.warn)
		}
		if l.bad != 0 {
			at("red", l.bad)
		}
	}
	return t
}

func (l limits) drawn() bool { return l.warn != 0 || l.bad != 0 }

// source is the variable that names the Prometheus.
func source() datasource { return datasource{Type: "prometheus", UID: "${datasource}"} }

// dashboard lays the board out.
func (b board) dashboard() dashboard {
	d := dashboard{
		UID: "onward-" + b.name, Title: "Onward · " + b.title, Description: b.about, Tags: []string{"onward"},
		Timezone: "browser", Editable: true, GraphTooltip: 1, Time: timeRange{From: "now-3h", To: "now"}, Refresh: "10s", SchemaVersion: 39,
		Links: []link{{
			Title: "Onward", Type: "dashboards", Icon: "external link", Tooltip: "Onward's other dashboards",
			Tags: []string{"onward"}, IncludeVars: true, KeepTime: true,
		}},
		Annotations: list[annotes]{List: []annotes{
			annotation("Alerts", "red", `ALERTS{job="$job", alertname=~"Onward.+", alertstate="firing"}`, "{{alertname}} ({{severity}})"),
			annotation("Versions", "blue",
				`count by (version) (onward_build_info{job="$job"}) unless count by (version) (onward_build_info{job="$job"} offset 5m)`, "version {{version}} comes"),
		}},
	}
	const installation = "label_values(onward_build_info, job)"
	d.Templating.List = []any{
		datasourceVariable{Type: "datasource", Name: "datasource", Label: "Prometheus", Query: "prometheus", Refresh: 1},
		queryVariable{
			Type: "query", Name: "job", Label: "Installation", Datasource: source(), Query: installation, Definition: installation,
			Refresh: 2, Sort: 1,
		},
	}
	id, y := 0, 0
	for _, s := range b.sections {
		id++
		d.Panels = append(d.Panels, row{Type: "row", ID: id, Title: s.title, GridPos: gridPos{H: 1, W: 24, Y: y}, Panels: []any{}})
		y++
		x, tallest := 0, 0
		for _, c := range s.charts {
			c.complete()
			if x+c.width > 24 {
				x, y, tallest = 0, y+tallest, 0
			}
			id++
			d.Panels = append(d.Panels, c.panel(id, gridPos{H: c.height, W: c.width, X: x, Y: y}))
			x, tallest = x+c.width, max(tallest, c.height)
		}
		y += tallest
	}
	return d
}

func annotation(name, iconColor, expr, title string) annotes {
	return annotes{
		Name: name, Datasource: source(), Enable: true, IconColor: iconColor, Expr: expr,
		Target: target{RefID: "A", Datasource: source(), Expr: expr, LegendFormat: title, EditorMode: "code", Format: "time_series", Range: true},
	}
}

// complete sets the size that is usual for a chart's kind.
func (c *chart) complete() {
	size := map[kind][2]int{number: {4, 4}, lines: {12, 8}, bars: {12, 8}, table: {24, 8}}[c.kind]
	if c.width == 0 {
		c.width = size[0]
	}
	if c.height == 0 {
		c.height = size[1]
	}
}

func (c chart) panel(id int, at gridPos) panel {
	p := panel{
		Type: string(c.kind), ID: id, Title: c.title, Description: c.about, Datasource: source(), GridPos: at,
		FieldConfig: fieldConfig{
			Defaults: fieldDefaults{
				Unit: c.unit, NoValue: c.noData, Color: color{Mode: "thresholds"}, Mappings: c.mappings(), Thresholds: c.limits.thresholds(),
			},
			Overrides: []override{},
		},
	}
	if c.max != 0 {
		p.FieldConfig.Defaults.Max = &c.max
	}
	for i, q := range c.queries {
		p.Targets = append(p.Targets, target{
			RefID: string(rune('A' + i)), Datasource: source(), Expr: q.expr, LegendFormat: q.legend, EditorMode: "code",
			Format: "time_series", Range: c.kind == lines, Instant: c.kind != lines,
		})
	}
	c.dress(&p)
	return p
}

// dress adds what differs from kind to kind.
func (c chart) dress(p *panel) {
	reduce := reduceOptions{Calcs: []string{"lastNotNull"}}
	shown := legend{DisplayMode: "list", Placement: "bottom", ShowLegend: true, Calcs: []string{}}
	switch c.kind {
	case number:
		p.Options = statOptions{
			GraphMode: "none", ColorMode: "background", JustifyMode: "auto", TextMode: "auto", WideLayout: true,
			PercentChangeColorMode: "standard", Orientation: "auto", ReduceOptions: reduce,
		}
	case bars:
		p.Options = barOptions{
			DisplayMode: "gradient", ValueMode: "color", NamePlacement: "left", ShowUnfilled: true, Sizing: "auto", MinVizWidth: 8,
			MinVizHeight: 16, MaxVizHeight: 300, Orientation: "horizontal", Legend: legend{DisplayMode: "list", Placement: "bottom", Calcs: []string{}},
			ReduceOptions: reduce,
		}
	case table:
		c.tabulate(p)
	case lines:
		zero := 0.0
		p.FieldConfig.Defaults.Min = &zero
		p.FieldConfig.Defaults.Color.Mode = "palette-classic"
		custom := lineCustom{
			DrawStyle: "line", LineInterpolation: "linear", LineWidth: 1, FillOpacity: 10, ShowPoints: "never",
			Stacking: stacking{Mode: "none", Group: "A"}, ThresholdsStyle: modeOnly{Mode: "off"}, ScaleDistribution: scaleOnly{Type: "linear"},
		}
		if c.stacked {
			custom.Stacking.Mode, custom.FillOpacity = "normal", 40
		}
		if c.limits.drawn() {
			custom.ThresholdsStyle.Mode = "dashed"
		}
		p.FieldConfig.Defaults.Custom = custom
		shown.DisplayMode, shown.Placement, shown.Calcs = "table", "right", []string{"lastNotNull", "max"}
		p.Options = lineOptions{Legend: shown, Tooltip: tooltip{Mode: "multi", Sort: "desc"}}
	}
}

// tabulate shows each series as a row of its labels, without those that say nothing.
func (c chart) tabulate(p *panel) {
	for i := range p.Targets {
		p.Targets[i].Format = "table"
	}
	exclude := map[string]any{"Time": true}
	for _, column := range c.hidden {
		exclude[column] = true
	}
	p.Transformations = []transformation{{ID: "organize", Options: map[string]any{
		"excludeByName": exclude, "indexByName": map[string]any{}, "renameByName": map[string]any{},
	}}}
	p.FieldConfig.Defaults.Custom = tableCustom{Align: "auto", Filterable: true, CellOptions: cellOptions{Type: "auto"}}
	p.Options = tableOptions{ShowHeader: true, CellHeight: "sm"}
}

// mappings turns the chart's words into Grafana's.
func (c chart) mappings() []mapping {
	if len(c.words) == 0 {
		return []mapping{}
	}
	m := mapping{Type: "value", Options: map[string]mappingResult{}}
	for v, text := range c.words {
		m.Options[fmt.Sprint(v)] = mappingResult{Text: text, Color: c.limits.color(float64(v)), Index: v}
	}
	return []mapping{m}
}

// color is what a value is shown in.
func (l limits) color(v float64) string {
	shown := ""
	for _, s := range l.thresholds().Steps {
		if s.Value == nil || v >= *s.Value {
			shown = s.Color
		}
	}
	return shown
}
