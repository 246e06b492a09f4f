package main

import (
	"fmt"
	"math"
)

// The drawing of one distribution, in the units of its viewBox.
const (
	plotWidth  = 720.0
	plotHeight = 232.0
	plotLeft   = 36.0
	plotRight  = 16.0
	plotTop    = 46.0
	plotBottom = 34.0
	plotBins   = 48
	textRoom   = 120.0 // what the text of a mark needs
	markRow    = 14.0  // the text of each mark has a row of its own
)

// plot is a histogram with its axis and a few marks, ready to be drawn.
type plot struct {
	Width, Height, Left, Right, Base, Top float64
	Bars                                  []bar
	Dots                                  []float64
	Ticks, Counts                         []tick
	Marks                                 []mark
}

type bar struct {
	X, Y, W, H float64
	Title      string
}

type tick struct {
	At   float64
	Text string
}

type mark struct {
	At     float64
	Text   string
	Class  string
	Anchor string
	Y      float64 // of the text
}

// newPlot draws sorted times; limit is a promise in ms, 0: none is drawn.
func newPlot(s series, ms []float64, limit float64) *plot {
	if len(ms) == 0 {
		return nil
	}
	p := &plot{
		Width: plotWidth, Height: plotHeight, Left: plotLeft, Right: plotWidth - plotRight,
		Base: plotHeight - plotBottom, Top: plotTop,
	}
	step := niceStep(max(ms[len(ms)-1]*1.05, limit*1.04) / 6)
	end := step / 2 * math.Ceil(max(ms[len(ms)-1]*1.02, limit*1.04)/(step/2))
	x := func(v float64) float64 { return p.Left + (p.Right-p.Left)*v/end }
	for v := 0.0; v <= end*1.0001; v += step {
		p.Ticks = append(p.Ticks, tick{x(v), axisText(v)})
	}
	p.fillBars(ms, end)
	for _, v := range ms {
		p.Dots = append(p.Dots, x(v))
	}
	// A line begins in the row of its text, so it crosses the rows below: nothing of
	// theirs is there, since p50 <= p99 <= what was promised, or was broken.
	if limit > 0 {
		p.mark("promise", "limit", x(limit), limit, 0, x(limit) > p.Right-textRoom)
	}
	at := x(*s.P99)
	p.mark("p99", "p99", at, *s.P99, 1, at > p.Right-textRoom || limit > 0 && at < x(limit)+1 && x(limit)-at < textRoom)
	at = x(*s.P50)
	p.mark("p50", "p50", at, *s.P50, 2, at > p.Left+textRoom)
	return p
}

func (p *plot) fillBars(ms []float64, end float64) {
	counts := make([]int, plotBins)
	most := 0
	for _, v := range ms {
		i := min(int(v/end*plotBins), plotBins-1)
		counts[i]++
		most = max(most, counts[i])
	}
	width := (p.Right - p.Left) / plotBins
	height := p.Base - p.Top
	for i, n := range counts {
		if n == 0 {
			continue
		}
		h := height * float64(n) / float64(most)
		from, to := end*float64(i)/plotBins, end*float64(i+1)/plotBins
		p.Bars = append(p.Bars, bar{
			X: p.Left + width*float64(i) + 0.75, Y: p.Base - h, W: width - 1.5, H: h,
			Title: fmt.Sprintf("%d between %s and %s ms", n, axisText(from), axisText(to)),
		})
	}
	step := max(int(math.Ceil(niceStep(float64(most)/3))), 1)
	for n := step; n <= most; n += step {
		p.Counts = append(p.Counts, tick{p.Base - height*float64(n)/float64(most), fmt.Sprint(n)})
	}
}

// mark draws a line with its text in a row above the bars, on the left of the line
// or on the right.
func (p *plot) mark(text, class string, at, ms float64, row int, left bool) {
	m := mark{At: at, Text: fmt.Sprintf("%s %s ms", text, axisText(ms)), Class: class, Anchor: "start", Y: 9 + markRow*float64(row)}
	if left {
		m.Anchor = "end"
	}
	p.Marks = append(p.Marks, m)
}

// TextX is where the text of a mark begins or ends.
func (m mark) TextX() float64 {
	if m.Anchor == "end" {
		return m.At - 5
	}
	return m.At + 5
}

// niceStep is the next of 1, 2, 5, 10, 20, 50 ... that is not smaller.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*0.999 {
			return m * power
		}
	}
	return 10 * power
}

// axisText has as many digits as are needed.
func axisText(v float64) string {
	if v >= 100 || v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}
