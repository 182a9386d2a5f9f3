package planner

import (
	"fmt"
	"sort"
	"strings"
)

// Consent is a named permission that an operator gives with --accept. The set
// is closed.
type Consent string

// The consents. ConsentHostDestroyed and ConsentRemoveMember are followed by
// ":NAME".
const (
	ConsentDataLoss      Consent = "data-loss"
	ConsentDowntime      Consent = "downtime"
	ConsentHostDestroyed Consent = "host-destroyed"
	ConsentRemoveMember  Consent = "remove-member"
	ConsentTailKeep      Consent = "tail-keep"
	ConsentTailDrop      Consent = "tail-drop"
	ConsentStaleWatchers Consent = "stale-watchers"
	ConsentLockRelease   Consent = "lock-release"
)

var consents = []Consent{
	ConsentDataLoss, ConsentDowntime, ConsentHostDestroyed, ConsentRemoveMember,
	ConsentTailKeep, ConsentTailDrop, ConsentStaleWatchers, ConsentLockRelease,
}

// named are the consents that need ":NAME".
var named = map[Consent]bool{ConsentHostDestroyed: true, ConsentRemoveMember: true}

// Consents lists the kinds of consent, sorted.
func Consents() []string {
	out := make([]string, len(consents))
	for i, c := range consents {
		out[i] = string(c)
		if named[c] {
			out[i] += ":NAME"
		}
	}
	sort.Strings(out)
	return out
}

// ParseConsents reads the values of --accept, each a comma-separated list. An
// unknown consent, and one that lacks or has a name wrongly, is an error.
func ParseConsents(values []string) (map[Consent]bool, error) {
	given := map[Consent]bool{}
	for _, v := range values {
		for _, s := range strings.Split(v, ",") {
			s = strings.TrimSpace(s)
			if s == "" {
				continue
			}
			kind, name, hasName := strings.Cut(s, ":")
			if !knownConsent(Consent(kind)) {
				return nil, fmt.Errorf("--accept: there is no consent %q; the consents are %s", s, strings.Join(Consents(), ", "))
			}
			if named[Consent(kind)] != (hasName && name != "") {
				return nil, fmt.Errorf("--accept: %q is written %s", s, consentForm(Consent(kind)))
			}
			given[Consent(s)] = true
		}
	}
	return given, nil
}

func knownConsent(c Consent) bool {
	for _, k := range consents {
		if c == k {
			return true
		}
	}
	return false
}

func consentForm(c Consent) string {
	if named[c] {
		return string(c) + ":NAME"
	}
	return string(c) + ", without a name"
}

// Need is a consent that a plan cannot go without, and why.
type Need struct {
	Consent Consent `json:"consent"`
	Why     string  `json:"why"`
	Given   bool    `json:"given,omitempty"` // it was, with --accept
}

// Missing gives those of needs that are not in given.
func Missing(needs []Need, given map[Consent]bool) []Need {
	var out []Need
	for _, n := range needs {
		if !given[n.Consent] {
			out = append(out, n)
		}
	}
	return out
}
