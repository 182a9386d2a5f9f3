package planner

import "github.com/requorum/requorum/spec"

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

// TLSArgs are the flags of a member's certificates.
func TLSArgs(t *spec.TLS) []string { return tlsArgs(t) }

// GoodCertificates are such as nothing can be said against.
func GoodCertificates(m spec.Member) map[string]Fact[Certificate] { return goodCertificates(m) }
