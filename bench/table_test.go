package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSummary(t *testing.T) {
	require.Equal(t, Summary{Median: 2, Min: 1, Max: 9}, summarize([]float64{9, 1, 2}))
	require.Equal(t, Summary{Median: 2.5, Min: 1, Max: 4}, summarize([]float64{4, 1, 3, 2}))
	require.Equal(t, Summary{}, summarize(nil))
	require.True(t, math.IsNaN(median(nil)))
}

// A machine that gets slower changes both sides of a ratio.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	v := func(values ...float64) (p []*float64) {
		for _, f := range values {
			if p = append(p, &f); f < 0 {
				p[len(p)-1] = nil
			}
		}
		return p
	}
	require.InDelta(t, 2, pairedRatio(v(200, 100, 20), v(100, 50, 10)), 0)
	require.InDelta(t, 3, pairedRatio(v(-1, 30, 40), v(5, 10, -1)), 0, "of rounds where both are known")
	require.True(t, math.IsNaN(pairedRatio(v(1), nil)))
	require.True(t, math.IsNaN(pairedRatio(v(1), v(0))))
}

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit Unit
		want string
	}{
		{12.345, PerSecond, "12.3"}, {1234, PerSecond, "1234"}, {9994, PerSecond, "9994"}, {9999, PerSecond, "10.0k"}, {9.999, PerSecond, "10.0"},
		{999_400, PerSecond, "999k"}, {999_600, PerSecond, "1.00M"}, {12.34e6, PerSecond, "12.3M"}, {17_345, Bytes, "17.3k"},
		{12.34e-6, Seconds, "12.3µs"}, {0.0123, Seconds, "12.3ms"}, {1.5, Seconds, "1.50s"}, {0, PerSecond, "0"},
	} {
		require.Equal(t, c.want, format(c.v, c.unit))
	}
	require.Equal(t, "0.004", significant(0.0041, 3))
	require.Equal(t, "10,000", thousands(10_000))
	require.Equal(t, "999", thousands(999))
}

// filledReport has two rounds of figures: n-th peers are n times as fast, and take n times as long where less is better.
func filledReport() *Report {
	r := &Report{Base: "net/rpc gob", Rounds: 2, Works: works(false)}
	for _, p := range peers {
		if !isFake(p) {
			r.Peers = append(r.Peers, p)
		}
	}
	for _, w := range r.Works {
		for n, p := range r.peersOf(w) {
			for round := range 2 {
				res := &Result{CPU: float64(n + 1), Allocs: 2}
				for range w.Rows {
					res.Values = append(res.Values, float64((n+1)*(round+1)*1000))
				}
				r.add(p, w, round, res, nil)
			}
		}
	}
	return r
}

func TestTable(t *testing.T) {
	r := filledReport()
	r.add(r.Peers[0], r.Works[0], 0, nil, errors.New("broken"))
	text := r.Text()
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, len([]rune(line)), tableWidth+1, line)
	}
	require.Regexp(t, `(?m)^25 B, 64 in flight +1500  0\.1\d+x +3000  0\.2\d+x`, text)
	require.Regexp(t, `(?m)^/s +1000–2000 +2000–4000`, text)
	require.Regexp(t, `(?m)^25 B beside 16 MB: p50 +1500s  [2-9]\.\d+x`, text, "less is better")
	require.Regexp(t, `(?m)^/s, x gorilla`, text)
	require.Contains(t, text, "FAILED: gotalk, 25 B, 1 in flight, round 1: broken")
	require.NotContains(t, text, "NaN")
	for _, p := range r.Peers {
		require.Contains(t, text, p.Name)
	}
}

func TestFiguresAreComplete(t *testing.T) {
	r := filledReport()
	n := 0
	for _, w := range r.Works {
		n += len(w.Rows) * len(r.peersOf(w))
	}
	figures := r.figures()
	require.Len(t, figures, n)
	for _, f := range figures {
		require.Len(t, f.Values, 2)
		require.Positive(t, f.Ratio, "%s, %s", f.Peer, f.Row)
	}
}

func TestSVG(t *testing.T) {
	r := filledReport()
	picture := r.SVG()
	d := xml.NewDecoder(strings.NewReader(picture))
	var rects int
	var text strings.Builder
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		switch e := tok.(type) {
		case xml.StartElement:
			if e.Name.Local == "rect" {
				rects++
			}
		case xml.CharData:
			text.Write(e)
		}
	}
	drawn := 0
	for _, w := range r.Works {
		for _, row := range w.Rows {
			if !row.Side {
				drawn += len(r.peersOf(w))
				require.Contains(t, text.String(), row.Name)
			}
		}
	}
	require.Equal(t, drawn, rects)
	require.NotContains(t, picture, "NaN")
}

// A hand-written program that is far ahead does not make the rest too small to see.
func TestCeilingsAreCutOff(t *testing.T) {
	ours, ceiling := &Peer{Group: Ours}, &Peer{Group: Ceilings}
	p := panel{bars: []bar{{ours, Figure{Ratio: 4}}, {ceiling, Figure{Ratio: 400}}}}
	require.InDelta(t, 5.2, p.full(), 1e-9)
	p.bars[1].Ratio = 4.5
	require.InDelta(t, 4.5, p.full(), 0)
	p.bars[1].Ratio = 0.5
	require.InDelta(t, 4, p.full(), 0)
}
