package main

import (
	_ "embed"
	"fmt"
	"html"
	"io"
	"strings"
)

// pageHead is everything before the body; VERDICT stands for the title.
//
//go:embed drill_page.html
var pageHead string

// markup writes HTML. It exists because html/template would keep the linker from
// leaving out what nobody calls: two megabytes more in every guard, for months, for
// a page that is made once.
type markup struct{ out io.Writer }

// put writes a line of markup; every text among args is escaped.
func (m *markup) put(format string, args ...any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = html.EscapeString(text)
		}
	}
	fmt.Fprintf(m.out, format+"\n", args...)
}

func (v view) draw(m *markup) {
	fmt.Fprint(m.out, strings.Replace(pageHead, "VERDICT", html.EscapeString(v.Verdict), 1))
	m.put(`<body><main><h1>pairguard drill</h1>`)
	class := "verdict"
	if !v.Held {
		class += " bad"
	}
	m.put(`<p class="%s">%s</p><p class="summary">%s</p><p class="date">%s</p>`, class, v.Verdict, v.Summary, v.Date)
	if len(v.Broken) > 0 {
		m.put(`<ul class="bad-list">`)
		for _, b := range v.Broken {
			m.put(`<li>%s</li>`, b)
		}
		m.put(`</ul>`)
	}
	for _, f := range v.Faults {
		f.draw(m)
	}
	v.drawCounts(m)
	v.drawMachine(m)
	v.drawRounds(m)
	m.put(`</main></body></html>`)
}

func (f faultView) draw(m *markup) {
	m.put(`<section id="%s"><h2>Back after a %s<code>%s</code></h2><p class="story">%s</p>`, f.Name, f.Name, f.How, f.Story)
	m.put(`<dl class="figures"><div><dt>rounds</dt><dd class="n">%d</dd></div>`, f.N)
	for _, figure := range []struct {
		name  string
		value *float64
	}{{"p50", f.P50}, {"p99", f.P99}, {"max", f.Max}} {
		m.put(`<div><dt>%s</dt><dd class="%s_ms">%s</dd></div>`, figure.name, figure.name, showMS(figure.value))
	}
	m.put(`</dl>`)
	if f.Plot == nil {
		m.put(`<p class="story">Not made on this system: there is no signal that hangs a process.</p>`)
	} else {
		f.Plot.draw(m)
	}
	m.put(`</section>`)
}

func (p *plot) draw(m *markup) {
	m.put(`<figure><svg viewBox="0 0 %g %g" role="img" aria-label="Distribution of the times until the name was back">`, p.Width, p.Height)
	for _, c := range p.Counts {
		m.put(`<line class="grid" x1="%g" x2="%g" y1="%.2f" y2="%.2f"/><text x="%g" dx="-6" y="%.2f" dy="4" text-anchor="end">%s</text>`,
			p.Left, p.Right, c.At, c.At, p.Left, c.At, c.Text)
	}
	for _, b := range p.Bars {
		m.put(`<rect class="bar" x="%.2f" y="%.2f" width="%.2f" height="%.2f" rx="1.5"><title>%s</title></rect>`, b.X, b.Y, b.W, b.H, b.Title)
	}
	m.put(`<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>`, p.Left, p.Right, p.Base, p.Base)
	for _, d := range p.Dots {
		m.put(`<path class="dot" d="M%.2f %gv9"/>`, d, p.Base)
	}
	for _, t := range p.Ticks {
		m.put(`<text x="%.2f" y="%g" dy="-6" text-anchor="middle">%s</text>`, t.At, p.Height, t.Text)
	}
	for _, k := range p.Marks {
		m.put(`<line class="%s" x1="%.2f" x2="%.2f" y1="%g" y2="%g"/>`, k.Class, k.At, k.At, k.Y, p.Base)
		m.put(`<text class="%s" x="%.2f" y="%g" text-anchor="%s">%s</text>`, k.Class, k.TextX(), k.Y, k.Anchor, k.Text)
	}
	m.put(`</svg><figcaption>Milliseconds, and how many rounds took that long; each round is a stroke below the axis.</figcaption></figure>`)
}

func (v view) drawCounts(m *markup) {
	m.put(`<section id="counts"><h2>What must not be</h2><dl class="figures">`)
	for _, c := range v.Counts {
		class := "zero"
		if c.N != 0 {
			class = "more"
		}
		m.put(`<div><dt>%s</dt><dd class="%s" data-of="%s">%d</dd><dt>%s</dt></div>`, c.Name, class, c.Name, c.N, c.Means)
	}
	m.put(`</dl></section>`)
}

func (v view) drawMachine(m *markup) {
	m.put(`<section id="machine"><h2>The machine</h2><table>`)
	for _, f := range v.Facts {
		m.put(`<tr><th>%s</th><td>%s</td></tr>`, f.Name, f.Value)
	}
	m.put(`</table><pre>%s</pre></section>`, v.Command)
}

func (v view) drawRounds(m *markup) {
	m.put(`<section id="rounds"><details><summary>Every round</summary><table class="rounds">`)
	m.put(`<tr><th>fault</th><th>member</th><th>round</th><th>at</th><th>pid</th><th>new pid</th><th>back after</th></tr>`)
	for _, r := range v.Rounds {
		m.put(`<tr><td>%s</td><td>%s</td><td>%d</td><td>%s</td><td>%d</td><td>%d</td><td>%s</td></tr>`,
			r.Fault, r.Name, r.Number, r.At, r.Old, r.New, r.Back)
	}
	m.put(`</table></details></section>`)
}
