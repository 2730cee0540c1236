package main

// SVG draws the ratios.
func (r *Report) SVG() string { return "" }
