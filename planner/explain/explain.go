// Package explain says of every action, refusal, notice, state and consent why it
// is there, what it keeps or breaks, what etcd is asked, how one would do it by
// hand, and where in etcd that stands. The texts are in topics, one file for each
// group; they are written for somebody who reads them while a cluster is down.
package explain

import (
	"strings"

	"github.com/requorum/requorum/planner"
)

// Group is what kind of thing a topic is about.
type Group string

// The groups, in the order in which they are listed.
const (
	GroupAction  Group = "action"
	GroupRefusal Group = "refusal"
	GroupNotice  Group = "notice"
	GroupState   Group = "state"
	GroupConsent Group = "consent"
	GroupBug     Group = "bug"     // etcd's own
	GroupFinding Group = "finding" // that no plan has, only an audit
)

// Groups lists them.
func Groups() []Group {
	return []Group{GroupAction, GroupRefusal, GroupNotice, GroupState, GroupConsent, GroupBug, GroupFinding}
}

// Topic is one thing that can be explained.
type Topic struct {
	Group Group `json:"group"`
	// Name is how it is asked for. Two groups may share one: the action
	// remove-member and the consent to it.
	Name   string `json:"name"`
	Number int    `json:"number,omitempty"` // a state's
	Title  string `json:"title"`            // what it is, in a few words
	// Versions are those of etcd that have a bug.
	Versions string `json:"versions,omitempty"`
	Why      string `json:"why"` // why it exists, what it means, what to do
	// Invariant is what it keeps, or what is broken.
	Invariant string `json:"invariant"`
	// Call is exactly what etcd is asked, or which files are written; "none: …"
	// where there is nothing of the kind, and why.
	Call string `json:"call"`
	// Equivalent is the same by hand. It is empty only where NoEquivalent says why.
	Equivalent   []Command `json:"equivalent,omitempty"`
	NoEquivalent string    `json:"no_equivalent,omitempty"`
	Sources      []Source  `json:"sources"`
}

// Command is a line for a shell. Every one is run by a test in its Situation.
type Command struct {
	Line      string `json:"line"`
	Situation string `json:"situation"` // one of Situations
	// Changes says that it is more than a look.
	Changes bool `json:"changes,omitempty"`
	// Exit is how it ends, and Says what it then prints: a failure is shown
	// because it is how one knows the state.
	Exit int    `json:"exit,omitempty"`
	Says string `json:"says,omitempty"`
}

// Source is where etcd says so.
type Source struct {
	Module string `json:"module"` // etcd's, raft's, bbolt's, requorum, or web
	File   string `json:"file"`
	Func   string `json:"func,omitempty"`
	Words  string `json:"words,omitempty"` // that occur there
}

// Placeholder is a variable that commands have in place of a value.
type Placeholder struct {
	Name  string `json:"name"`
	Means string `json:"means"`
}

// Placeholders lists all of them.
func Placeholders() []Placeholder {
	return []Placeholder{
		{"ENDPOINTS", "the client URLs of all members that run, with commas"},
		{"ENDPOINT", "the client URL of one member"},
		{"LEADER", "the client URL of the leader"},
		{"MEMBER_ID", "the member's ID in hex, as `member list` shows it"},
		{"TARGET_ID", "the ID of the member that is to lead, as its `endpoint status` shows it"},
		{"NAME", "the member's name"},
		{"PEER_URL", "the member's peer URL"},
		{"CLIENT_URL", "the member's client URL"},
		{"DATA_DIR", "the member's data directory"},
		{"LOOPBACK", "a free client URL on 127.0.0.1"},
		{"LOOPBACK_PEER", "a free peer URL on 127.0.0.1"},
		{"INITIAL_CLUSTER", "all members as NAME=PEER_URL, with commas"},
		{"STATE", "existing; new only where a cluster is begun, never on a lost disk"},
		{"TOKEN", "a cluster token that was never used before"},
		{"OLD_TOKEN", "the cluster token that the members were started with"},
		{"PID", "the process ID of the member's etcd"},
		{"LOG", "the file with the member's output"},
		{"SNAPSHOT", "the path of the snapshot file"},
		{"DB", "a copy of a stopped member's member/snap/db"},
		{"COPY", "a path for a copy, on a disk with room"},
		{"ASIDE", "a path that does not exist yet, on the same file system"},
		{"RESTORED", "a path that does not exist yet, for the new directory"},
		{"REVISION", "the revision to compact at"},
		{"PASSWORD", "root's password"},
		{"CA", "the file with the CA's certificate"},
		{"FILE", "requorum's file or folder"},
	}
}

// Situation is where a command makes sense.
type Situation struct {
	Name  string `json:"name"`
	Means string `json:"means"`
}

// Situations lists all of them.
func Situations() []Situation {
	return []Situation{
		{"cluster", "while the cluster serves"},
		{"growing", "while the cluster serves and has room for a learner"},
		{"down", "while one member is down and the others serve"},
		{"removed", "after a member was removed, and has ended"},
		{"emptied", "on the host of a member whose disk was emptied"},
		{"noquorum", "on a survivor that runs without a quorum"},
		{"learner", "while a learner runs beside the voters"},
		{"unstarted", "while a listed learner never started"},
		{"stopped", "on the host of a stopped member"},
		{"fenced", "on the host of a fenced member, its data at $ASIDE"},
		{"vacant", "on the host of a member that is yet to be made"},
		{"snapshot", "where the snapshot file lies"},
		{"space", "while the NOSPACE alarm is on"},
		{"downgrading", "while a downgrade is enabled"},
		{"auth", "while auth is on"},
		{"tls", "while clients have to use TLS"},
		{"file", "where requorum's file is"},
	}
}

// Uses gives the placeholders in the commands of t, in their usual order.
func (t Topic) Uses() []Placeholder {
	var out []Placeholder
	for _, p := range Placeholders() {
		for _, c := range t.Equivalent {
			if variables(c.Line)[p.Name] {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// variables are the names behind a $ in line, in braces or not.
func variables(line string) map[string]bool {
	out := map[string]bool{}
	for _, part := range strings.Split(line, "$")[1:] {
		part = strings.TrimPrefix(part, "{")
		end := strings.IndexFunc(part, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') })
		if end < 0 {
			end = len(part)
		}
		if end > 0 {
			out[part[:end]] = true
		}
	}
	return out
}

// Find gives the topics that are asked for as name: by an action's kind, a code, a
// state's code or number, a consent with or without what follows its colon.
func Find(name string) []Topic {
	name = strings.ToLower(strings.TrimSpace(name))
	var out []Topic
	kind, who, isConsent := strings.Cut(name, ":")
	for _, t := range All() {
		switch {
		case t.Group == GroupConsent && t.Name == kind && (!isConsent || who != ""):
			out = append(out, t)
		case isConsent:
		case t.Name == name || t.Number > 0 && number(t.Number) == strings.TrimPrefix(name, "#"):
			out = append(out, t)
		}
	}
	return out
}

// ForStep gives the topic of a step's action.
func ForStep(s planner.Step) (Topic, bool) {
	for _, t := range All() {
		if t.Group == GroupAction && t.Name == s.Kind {
			return t, true
		}
	}
	return Topic{}, false
}
