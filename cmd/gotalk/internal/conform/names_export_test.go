package conform

// EachCheck calls f for all checks, in their order.
func EachCheck(f func(group, name string)) {
	for _, g := range groups() {
		for _, c := range g.checks {
			f(g.name, c.name)
		}
	}
}
