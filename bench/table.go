package main

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// tableWidth is how wide tables become before further columns stand in a table below.
const tableWidth = 150

// Text returns the tables.
func (r *Report) Text() string {
	var b strings.Builder
	var rates, cpu, allocs table
	for _, t := range []*table{&rates, &cpu, &allocs} {
		for _, p := range r.Peers {
			t.columns = append(t.columns, p.Name)
		}
	}
	for _, w := range r.Works {
		for i, row := range w.Rows {
			cells, cpuCells, allocCells := r.cells(w, i)
			label := []string{row.Name, string(row.Unit)}
			if row.Less {
				label[1] += ", less is better"
			}
			if base := r.baseOf(w); base != r.Base && base != "" {
				label[1] += ", x " + base
			}
			rates.add(label, cells)
			if w.Kind != Beside && w.Kind != Idle {
				cpu.add([]string{row.Name}, cpuCells)
				allocs.add([]string{row.Name}, allocCells)
			}
		}
	}
	fmt.Fprintf(&b, "%s. Medians, lowest–highest below them; x is how many times better than %s.\n\n%s", r.setting(), r.Base,
		rates.text())
	fmt.Fprintf(&b, "CPU seconds per million calls (or notifications, or deliveries), user and system, client and server\n\n%s",
		cpu.text())
	fmt.Fprintf(&b, "Allocations per call, client and server\n\n%s", allocs.text())
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "FAILED: %s\n", f)
	}
	return b.String()
}

// setting says what the figures are from.
func (r *Report) setting() string {
	return fmt.Sprintf("%s, %s, %s of %v", runtime.Version(), plural(runtime.NumCPU(), "CPU"), plural(r.Rounds, "round"),
		r.Times.Run)
}

func plural(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// cells returns what stands in the columns of a row, of all three tables.
func (r *Report) cells(w *Work, i int) (values, cpu, allocs [][]string) {
	for _, p := range r.Peers {
		f, ok := r.figure(p, w, i)
		if !ok {
			lack := "-"
			if r.failed[cell{p, w}] {
				lack = "failed"
			} else if p.Does(w) {
				lack = "?" // interrupted before
			}
			values, cpu, allocs = append(values, []string{lack}), append(cpu, []string{lack}), append(allocs, []string{lack})
			continue
		}
		s := summarize(f.Values)
		first := format(s.Median, f.Unit)
		if f.Ratio > 0 {
			first += "  " + significant(f.Ratio, 3) + "x"
		}
		lines := []string{first}
		if len(f.Values) > 1 {
			lines = append(lines, format(s.Min, f.Unit)+"–"+format(s.Max, f.Unit))
		}
		values = append(values, lines)
		cpu, allocs = append(cpu, []string{significant(f.CPU, 3)}), append(allocs, []string{significant(f.Allocs, 3)})
	}
	return values, cpu, allocs
}

// table is columns of cells that have several lines. Numbers stand to the right.
type table struct {
	columns []string
	labels  [][]string
	rows    [][][]string
}

func (t *table) add(label []string, cells [][]string) {
	t.labels, t.rows = append(t.labels, label), append(t.rows, cells)
}

// text returns the table, or tables below each other if it is too wide. Columns without anything are left out.
func (t *table) text() string {
	if len(t.rows) == 0 {
		return ""
	}
	label := 0
	for _, lines := range t.labels {
		label = max(label, widest(lines))
	}
	var b strings.Builder
	var columns []int
	width := label
	for c := range t.columns {
		if t.empty(c) {
			continue
		}
		if w := t.width(c) + 2; width+w > tableWidth && len(columns) > 0 {
			t.write(&b, label, columns)
			columns, width = nil, label
		}
		columns = append(columns, c)
		width += t.width(c) + 2
	}
	t.write(&b, label, columns)
	return b.String()
}

func (t *table) empty(column int) bool {
	for _, cells := range t.rows {
		if cells[column][0] != "-" {
			return false
		}
	}
	return true
}

func (t *table) width(column int) int {
	w := utf8.RuneCountInString(t.columns[column])
	for _, cells := range t.rows {
		w = max(w, widest(cells[column]))
	}
	return w
}

func widest(lines []string) (w int) {
	for _, l := range lines {
		w = max(w, utf8.RuneCountInString(l))
	}
	return w
}

func (t *table) write(b *strings.Builder, label int, columns []int) {
	line := func(first string, cell func(column int) string) {
		s := first + strings.Repeat(" ", label-utf8.RuneCountInString(first))
		for _, c := range columns {
			v := cell(c)
			s += strings.Repeat(" ", 2+t.width(c)-utf8.RuneCountInString(v)) + v
		}
		b.WriteString(strings.TrimRight(s, " ") + "\n")
	}
	line("", func(c int) string { return t.columns[c] })
	for i, cells := range t.rows {
		height := len(t.labels[i])
		for _, c := range columns {
			height = max(height, len(cells[c]))
		}
		for n := range height {
			line(at(t.labels[i], n), func(c int) string { return at(cells[c], n) })
		}
	}
	b.WriteString("\n")
}

func at(lines []string, n int) string {
	if n < len(lines) {
		return lines[n]
	}
	return ""
}

// format formats a figure with three digits.
func format(v float64, u Unit) string {
	switch {
	case u == Seconds:
		return significantDuration(v)
	case v >= 999_500:
		return significant(v/1e6, 3) + "M"
	case v >= 9_995: // as four digits are as good as three and a letter
		return significant(v/1e3, 3) + "k"
	}
	return significant(v, 3)
}

func significantDuration(seconds float64) string {
	switch d := time.Duration(seconds * 1e9); {
	case d < time.Millisecond:
		return significant(seconds*1e6, 3) + "µs"
	case d < time.Second:
		return significant(seconds*1e3, 3) + "ms"
	}
	return significant(seconds, 3) + "s"
}

// significant formats v with so many digits, but never with fewer than those before the point.
func significant(v float64, digits int) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprint(v)
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'e', digits-1, 64), 64) // 9.999 is 10.0, not 10.00
	after := digits - 1 - int(math.Floor(math.Log10(math.Abs(rounded))))
	return fmt.Sprintf("%.*f", max(min(after, 3), 0), v)
}
