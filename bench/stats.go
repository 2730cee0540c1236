package main

import (
	"math"
	"slices"
)

// Summary is what several rounds of one figure come to.
type Summary struct{ Median, Min, Max float64 }

// summarize returns zeros if there are no values.
func summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	return Summary{median(values), slices.Min(values), slices.Max(values)}
}

// median returns the middle one, or the mean of the middle two, and NaN if there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Clone(values)
	slices.Sort(s)
	half := len(s) / 2
	if len(s)%2 == 1 {
		return s[half]
	}
	return (s[half-1] + s[half]) / 2
}

// pairedRatio returns the median of the rounds' ratios of a to b, which were measured close to each other: what changes
// between rounds on the machine changes both. Rounds that are missing in one of them (nil) do not count.
func pairedRatio(a, b []*float64) float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if a[i] != nil && b[i] != nil && *b[i] != 0 {
			ratios = append(ratios, *a[i] / *b[i])
		}
	}
	return median(ratios)
}
