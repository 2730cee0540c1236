package main

import (
	"fmt"
	"slices"
)

// Report is what was measured, of which peers at which works.
type Report struct {
	Quick    bool
	Base     string // name of the peer that ratios are relative to
	Rounds   int
	Times    Times
	Works    []*Work
	Peers    []*Peer
	Failures []string

	results map[cell][]*Result // by round, nil where it failed
	failed  map[cell]bool
}

type cell struct {
	peer *Peer
	work *Work
}

func (r *Report) peersOf(w *Work) (does []*Peer) {
	for _, p := range r.Peers {
		if p.Does(w) {
			does = append(does, p)
		}
	}
	return does
}

// baseOf returns the name of the peer that ratios of w are relative to: Base, if it can do w.
func (r *Report) baseOf(w *Work) string {
	if p, err := peerNamed(r.Base); err == nil && p.Does(w) {
		return r.Base
	}
	return w.Base
}

// add takes the result of one round, or that it failed.
func (r *Report) add(p *Peer, w *Work, round int, res *Result, err error) {
	c := cell{p, w}
	if err != nil {
		r.Failures = append(r.Failures, fmt.Sprintf("%s, %s, round %d: %v", p.Name, w.Name, round+1, err))
		if r.failed == nil {
			r.failed = map[cell]bool{}
		}
		r.failed[c] = true
		return
	}
	if r.results == nil {
		r.results = map[cell][]*Result{}
	}
	for len(r.results[c]) <= round {
		r.results[c] = append(r.results[c], nil)
	}
	r.results[c][round] = res
}

// values returns a figure of each round, nil where there is none.
func (r *Report) values(p *Peer, w *Work, of func(*Result) float64) []*float64 {
	var values []*float64
	for _, res := range r.results[cell{p, w}] {
		var v *float64
		if res != nil {
			f := of(res)
			v = &f
		}
		values = append(values, v)
	}
	return values
}

// known drops what is nil.
func known(values []*float64) (known []float64) {
	for _, v := range values {
		if v != nil {
			known = append(known, *v)
		}
	}
	return known
}

// Figure is one cell of the table.
type Figure struct {
	Peer   string    `json:"peer"`
	Row    string    `json:"row"`
	Unit   Unit      `json:"unit"`
	Values []float64 `json:"values"` // by round
	Median float64   `json:"median"`
	Base   string    `json:"base,omitempty"`
	Ratio  float64   `json:"ratio,omitempty"` // to the base's, above 1 is better
	CPU    float64   `json:"cpu_seconds_per_million,omitempty"`
	Allocs float64   `json:"allocs_per_call,omitempty"`
}

// figure returns the figure of p in the i-th row of w, if there is one.
func (r *Report) figure(p *Peer, w *Work, i int) (Figure, bool) {
	of := func(res *Result) float64 { return res.Values[i] }
	values := r.values(p, w, of)
	f := Figure{Peer: p.Name, Row: w.Rows[i].Name, Unit: w.Rows[i].Unit, Values: known(values)}
	if len(f.Values) == 0 {
		return f, false
	}
	f.Median = median(f.Values)
	if base := slices.IndexFunc(r.Peers, func(p *Peer) bool { return p.Name == r.baseOf(w) }); base >= 0 {
		a, b := values, r.values(r.Peers[base], w, of)
		if w.Rows[i].Less {
			a, b = b, a
		}
		if ratio := pairedRatio(a, b); ratio > 0 { // not NaN
			f.Base, f.Ratio = r.Peers[base].Name, ratio
		}
	}
	f.CPU = median(known(r.values(p, w, func(res *Result) float64 { return res.CPU })))
	f.Allocs = median(known(r.values(p, w, func(res *Result) float64 { return res.Allocs })))
	return f, true
}

// figures returns all, row by row.
func (r *Report) figures() (all []Figure) {
	for _, w := range r.Works {
		for i := range w.Rows {
			for _, p := range r.Peers {
				if f, ok := r.figure(p, w, i); ok {
					all = append(all, f)
				}
			}
		}
	}
	return all
}
