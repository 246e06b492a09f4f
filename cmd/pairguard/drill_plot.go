package main

import (
	"fmt"
	"math"
)

// The drawing of one distribution, in the units of its viewBox.
const (
	plotWidth  = 720.0
	plotHeight = 220.0
	plotLeft   = 36.0
	plotRight  = 16.0
	plotTop    = 34.0
	plotBottom = 34.0
	plotBins   = 48
	textRoom   = 120.0 // what the text of a mark needs
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
	p.mark(x, *s.P50, "p50", "p50", 25)
	p.mark(x, *s.P99, "p99", "p99", 9)
	if limit > 0 {
		p.mark(x, limit, "promise", "limit", 25)
	}
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

// mark draws a line at v with its text above the bars, on the side where there
// is room.
func (p *plot) mark(x func(float64) float64, v float64, text, class string, y float64) {
	m := mark{At: x(v), Text: fmt.Sprintf("%s %s ms", text, axisText(v)), Class: class, Anchor: "start", Y: y}
	if class == "p50" && m.At > p.Left+textRoom || m.At > p.Right-textRoom {
		m.Anchor = "end" // the p50's text stays clear of the line of the p99
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
