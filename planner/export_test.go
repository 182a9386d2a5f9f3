package planner

// For the tests of the renderers, which stand outside this package.

// InputOf gives the input that the planner's own tests use: three members, or as many as there are kinds, each
// of the named kind.
func InputOf(snapshot bool, kinds ...string) Input {
	c := threeMembers()
	if len(kinds) > 3 {
		c = members(len(kinds))
	}
	if snapshot {
		withSnapshot(c)
	}
	ks := make([]kind, len(kinds))
	for i, k := range kinds {
		ks[i] = kind(k)
	}
	return input(c, ks...)
}

// KindNames are the kinds that InputOf takes.
func KindNames() []string {
	var out []string
	for _, k := range kinds() {
		out = append(out, string(k))
	}
	return out
}
