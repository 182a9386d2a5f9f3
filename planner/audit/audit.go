// Package audit says what is the matter with a cluster that was looked at: each
// finding with a code that stays, how bad it is, where the file is about it, what was
// seen, and what helps. It finds nothing out by itself: states, refusals and notes are
// the planner's, and the rest is counted from the same observation.
//
// It is pure, as the planner is: ages come in as seconds.
package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// FormatVersion is the version of a report's JSON form. A reader ignores fields that it
// doesn't know; the first number changes when one it knows goes away.
const FormatVersion = "1.0"

// Severity says how bad a finding is. It is one of a closed set.
type Severity int

// The severities, the mildest first.
const (
	Info     Severity = iota // worth knowing
	Warning                  // to be mended in time
	Error                    // broken: the next failure may stop the cluster
	Critical                 // writes stop, or data is at risk, now
)

var severityNames = []string{"info", "warning", "error", "critical"}

// Severities lists them, the mildest first.
func Severities() []Severity { return []Severity{Info, Warning, Error, Critical} }

// String is the severity's name.
func (s Severity) String() string { return severityNames[s] }

// MarshalJSON writes the name.
func (s Severity) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Severity) UnmarshalJSON(b []byte) error {
	var name string
	err := json.Unmarshal(b, &name)
	if err == nil {
		*s, err = ParseSeverity(name)
	}
	return err
}

// ParseSeverity reads a name.
func ParseSeverity(name string) (Severity, error) {
	if i := slices.Index(severityNames, name); i >= 0 {
		return Severity(i), nil
	}
	return 0, fmt.Errorf("there is no severity %q; they are info, warning, error and critical", name)
}

// Code names a kind of finding. Those of states, notes, refusals and bugs are the
// planner's own words; `requorum explain` knows each.
type Code string

// Finding is one thing that is the matter.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	// Member is whose it is; "" for the cluster's.
	Member string `json:"member,omitempty"`
	// Fact is what was seen.
	Fact string `json:"fact"`
	// Remedy is what helps, in order.
	Remedy []string      `json:"remedy"`
	Pos    spec.Position `json:"pos"`
}

// Cluster is one file, and what was found of its cluster.
type Cluster struct {
	Path string `json:"path"` // as it was asked for
	Name string `json:"cluster,omitempty"`
	ID   string `json:"cluster_id,omitempty"`
	// Problem is why nothing could be found out; "" where it could.
	Problem  string         `json:"problem,omitempty"`
	Quorum   planner.Quorum `json:"quorum"`
	Findings []Finding      `json:"findings"`
	Seconds  float64        `json:"seconds"` // that the look took
}

// Worst is the worst severity among the findings; false for none.
func (c Cluster) Worst() (Severity, bool) {
	worst := Info
	for _, f := range c.Findings {
		worst = max(worst, f.Severity)
	}
	return worst, len(c.Findings) > 0
}

// Report is an audit of one or many clusters.
type Report struct {
	Format   string    `json:"requorum_audit"`
	Version  string    `json:"requorum_version"`
	At       string    `json:"timestamp"` // RFC 3339, UTC: when it began
	Unix     int64     `json:"-"`         // the same, in seconds
	FailOn   Severity  `json:"fail_on"`
	Clusters []Cluster `json:"clusters"` // in the order in which they were asked for
}

// Fails reports whether a finding is as bad as the bar, or worse.
func (r Report) Fails() bool {
	return slices.ContainsFunc(r.Clusters, func(c Cluster) bool {
		worst, some := c.Worst()
		return some && worst >= r.FailOn
	})
}

// Whole reports whether each cluster could be looked at.
func (r Report) Whole() bool {
	return !slices.ContainsFunc(r.Clusters, func(c Cluster) bool { return c.Problem != "" })
}

// Count is how many findings of a severity there are.
func (r Report) Count(s Severity) int {
	n := 0
	for _, c := range r.Clusters {
		for _, f := range c.Findings {
			if f.Severity == s {
				n++
			}
		}
	}
	return n
}

// Input is all that findings follow from.
type Input struct {
	planner.Input
	Plan *planner.Plan // of Input
	// Differences are planner.Differences of Input.
	Differences []planner.Difference
	Backups     Backups
}

// Backups is what is known of a cluster's backups.
type Backups struct {
	// Place is where they are, without secrets; "" where the file names none.
	Place string
	Pos   spec.Position
	// Problem is why the place could not be looked at; "" where it could.
	Problem string
	// Newest is the newest one of the cluster's, zero for none; Drilled the last that
	// came back whole when it was tried out, as far as this machine knows.
	Newest, Drilled Backup
	// Passed is what lies there and is no snapshot, and why; "" where nothing does.
	Passed string
	// MaxAge and MaxDrillAge are how old they may be, in seconds; 0 asks for none.
	MaxAge, MaxDrillAge int64
}

// Backup is one snapshot, and how long ago it was saved, or tried out.
type Backup struct {
	Name    string
	Seconds int64
}

// Of gives the findings: the worst first, those of the cluster before those of members,
// in the file's order.
func Of(in Input) []Finding {
	f := &finder{in: in}
	f.states()
	f.differences()
	f.addresses()
	f.services()
	f.storage()
	f.places()
	f.shape()
	f.backups()
	f.bugs()
	// Certificates come here, once members can have some.
	f.refusal()
	f.unexplained()
	f.dropConsequences()
	return f.sorted()
}

// finder collects findings, each code once for a member.
type finder struct {
	in   Input
	list []Finding
}

func (f *finder) add(code Code, member, fact string, args ...any) *Finding {
	if found := f.of(code, member); found != nil {
		return found
	}
	k, ok := kinds[code]
	if !ok {
		panic("audit: no kind " + string(code)) // a test adds each
	}
	f.list = append(f.list, Finding{
		Code: code, Severity: k.Severity, Title: k.Title, Member: member, Fact: fmt.Sprintf(fact, args...),
		Remedy: []string{k.Remedy}, Pos: f.pos(member),
	})
	return &f.list[len(f.list)-1]
}

// of is the finding of this code and member; nil for none.
func (f *finder) of(code Code, member string) *Finding {
	for i := range f.list {
		if f.list[i].Code == code && f.list[i].Member == member {
			return &f.list[i]
		}
	}
	return nil
}

// any reports whether one of the codes was found of whomever.
func (f *finder) any(codes ...Code) bool {
	return slices.ContainsFunc(f.list, func(x Finding) bool { return slices.Contains(codes, x.Code) })
}

// about reports whether anything of at least this severity was found of the member.
func (f *finder) about(member string, least Severity) bool {
	return slices.ContainsFunc(f.list, func(x Finding) bool { return x.Member == member && x.Severity >= least })
}

// pos is where the file has the member, the cluster where it has none of that name.
func (f *finder) pos(member string) spec.Position {
	if m, ok := f.in.Cluster.Member(member); ok {
		return m.Pos
	}
	return f.in.Cluster.Pos
}

func (f *finder) sorted() []Finding {
	order := map[string]int{}
	for i, m := range f.in.Cluster.Members {
		order[m.Name] = i + 1
	}
	slices.SortStableFunc(f.list, func(x, y Finding) int {
		at := func(m string) int {
			if m != "" && order[m] == 0 {
				return len(order) + 1 // not in the file
			}
			return order[m]
		}
		return cmp.Or(cmp.Compare(y.Severity, x.Severity), cmp.Compare(at(x.Member), at(y.Member)), cmp.Compare(x.Code, y.Code))
	})
	return f.list
}
