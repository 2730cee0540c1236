package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The picture has a panel for each row of the table, in two columns.
const (
	svgWidth  = 800
	svgMargin = 12
	svgGap    = 24 // between the columns
	svgHead   = 58
	svgPanel  = (svgWidth - 2*svgMargin - svgGap) / 2
	svgNames  = 116 // of peers, to the left of the bars
	svgValues = 96  // right of the bars
	svgBars   = svgPanel - svgNames - svgValues
	svgBar    = 15 // from one to the next
	svgTitle  = 24 // of a panel
	svgBelow  = 16 // a panel
)

// The colours are readable on white and on black.
const svgStyle = `
text { font: 11px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.head { font-size: 15px; font-weight: 600 }
.title { font-size: 12px; font-weight: 600 }
.note, .ratio { fill: #656d76 }
.ours { font-weight: 600 }
.value { stroke: #fff; stroke-width: 3; paint-order: stroke }
rect.g0 { fill: #0f766e }
rect.g1 { fill: #8b98a9 }
rect.g2 { fill: #8b98a9; opacity: .4 }
.one { stroke: #1f2328; stroke-opacity: .45; stroke-dasharray: 2 2 }
.cut { fill: none; stroke: #fff; stroke-width: 2.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.note, .ratio { fill: #8d96a0 }
rect.g0 { fill: #2dd4bf }
rect.g1 { fill: #768390 }
rect.g2 { fill: #768390; opacity: .45 }
.one { stroke: #e6edf3 }
.cut, .value { stroke: #0d1117 }
}
`

// bar is what a panel shows of a peer.
type bar struct {
	peer *Peer
	Figure
}

// panel is a row of the table.
type panel struct {
	title string
	bars  []bar
}

func (p panel) height() int { return svgTitle + svgBar*len(p.bars) + svgBelow }

// full is the ratio whose bar has the whole width. It is that of the best library: the hand-written programs may be so far
// ahead that nothing would be seen of the rest, so that their bars are cut off.
func (p panel) full() float64 {
	best, ceiling := 1.0, 0.0
	for _, b := range p.bars {
		if b.peer.Group == Ceilings {
			ceiling = max(ceiling, b.Ratio)
		} else {
			best = max(best, b.Ratio)
		}
	}
	if ceiling > best {
		best = min(best*1.3, ceiling)
	}
	return best
}

// SVG draws the ratios.
func (r *Report) SVG() string {
	columns, height := r.columns()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`,
		svgWidth, height)
	fmt.Fprintf(&b, "\n<title>How many times better than %s</title>\n<style>%s</style>\n", html.EscapeString(r.Base), svgStyle)
	write := func(x, y int, class, anchor, s string) { svgText(&b, x, y, class, anchor, html.EscapeString(s)) }
	write(svgMargin, 24, "head", "start", "How many times better than "+r.Base)
	write(svgMargin, 43, "note", "start", r.setting()+
		". Client and server are processes on one machine. Longer is better; the dashed line is 1×.")
	for c, panels := range columns {
		x, y := svgMargin+c*(svgPanel+svgGap), svgHead
		for _, p := range panels {
			p.draw(&b, x, y)
			y += p.height()
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// columns returns the panels of both columns, which are about equally high, and the height of the picture.
func (r *Report) columns() (columns [2][]panel, height int) {
	var panels []panel
	total := 0
	for _, w := range r.Works {
		for i, row := range w.Rows {
			p := panel{title: row.Name}
			for _, peer := range r.Peers {
				if f, ok := r.figure(peer, w, i); ok && f.Ratio > 0 {
					p.bars = append(p.bars, bar{peer, f})
				}
			}
			if row.Side || len(p.bars) == 0 {
				continue
			}
			if row.Unit == PerSecond {
				p.title += ", per second"
			} else if row.Unit == Bytes {
				p.title += ", bytes"
			}
			if base := r.baseOf(w); base != r.Base {
				p.title += " (1× is " + base + ")"
			}
			panels = append(panels, p)
			total += p.height()
		}
	}
	heights := [2]int{}
	for _, p := range panels {
		c := 0
		if heights[0]+p.height()/2 > total/2 {
			c = 1
		}
		columns[c] = append(columns[c], p)
		heights[c] += p.height()
	}
	return columns, svgHead + max(heights[0], heights[1])
}

func (p panel) draw(b *strings.Builder, x, y int) {
	svgText(b, x, y+14, "title", "start", html.EscapeString(p.title))
	bars, top, full := x+svgNames, y+svgTitle, p.full()
	one := float64(bars) + svgBars/full
	fmt.Fprintf(b, `<line class="one" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", one, top-1, one, top+svgBar*len(p.bars))
	for i, v := range p.bars {
		y := top + i*svgBar
		class := "other"
		if v.peer.Group == Ours {
			class = "ours"
		}
		width := svgBars * min(v.Ratio/full, 1)
		svgText(b, bars-6, y+11, class, "end", html.EscapeString(v.Peer))
		fmt.Fprintf(b, `<rect class="g%d" x="%d" y="%d" width="%.1f" height="%d" rx="1"/>`+"\n", v.peer.Group, bars, y+2,
			math.Max(width, 1), svgBar-4)
		if v.Ratio > full {
			fmt.Fprintf(b, `<path class="cut" d="M%d %d l5 -%d"/>`+"\n", bars+svgBars-16, y+svgBar-1, svgBar)
		}
		svgText(b, bars+int(width)+5, y+11, class+" value", "start", fmt.Sprintf(`%s <tspan class="ratio">%s×</tspan>`,
			format(v.Median, v.Unit), significant(v.Ratio, 2)))
	}
}

// svgText writes a line of text. s is markup.
func svgText(b *strings.Builder, x, y int, class, anchor, s string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, s)
}
