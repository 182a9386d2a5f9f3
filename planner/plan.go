package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/requorum/requorum/spec"
)

// FormatVersion is the version of a plan's JSON form. A consumer ignores fields
// that it doesn't know; the first number changes when one it knows goes away.
const FormatVersion = "1.1"

// Route is the way from what is to what should be.
type Route string

// The routes, the least destructive first. RouteStop is `requorum stop`'s own.
const (
	RouteInSync      Route = "in-sync"
	RouteStart       Route = "start"
	RouteReconfigure Route = "reconfigure"
	RouteRecover     Route = "recover"
	RouteRestore     Route = "restore"
	RouteBootstrap   Route = "bootstrap"
	RouteStop        Route = "stop"
)

// Routes lists the routes a plan may take, the least destructive first.
func Routes() []Route {
	return []Route{RouteInSync, RouteStart, RouteReconfigure, RouteRecover, RouteRestore, RouteBootstrap}
}

// Input is everything that a plan follows from.
type Input struct {
	Cluster     *spec.Cluster
	Observation Observation
	// Token is a fresh random cluster token for a new identity, should the plan
	// need one (promise 4).
	Token string
	// Now (RFC 3339, UTC) and By are written into provenance.
	Now string
	By  string
	// Accept are the consents given so far. They choose where a plan has a choice
	// (the tail of a log kept or dropped), and say what is known to be gone
	// (host-destroyed); all that the plan needs stays in its Needs.
	Accept map[Consent]bool
}

// Plan is what will be done, in order, and why; or the refusal to do it.
type Plan struct {
	Format  string `json:"requorum_plan"` // FormatVersion
	Cluster string `json:"cluster"`
	// ClusterID is the ID of the cluster that was seen, in hex; "" for none.
	ClusterID string `json:"cluster_id,omitempty"`
	// NewClusterID is the ID that the steps give to a new cluster; "" where they
	// begin none.
	NewClusterID string `json:"new_cluster_id,omitempty"`
	Route        Route  `json:"route,omitempty"`
	// Headline says in one sentence what was found and what follows from it.
	Headline string       `json:"headline"`
	Members  []MemberLine `json:"members"`
	// States are what was found to be the matter, by number.
	States []Finding `json:"states,omitempty"`
	// Doubts are the facts that could not be learned, or that contradict each other,
	// and what would settle each.
	Doubts []Doubt `json:"doubts,omitempty"`
	// Survivors are the disks that hold a log of the old cluster, the best first,
	// where the plan recovers from one or has to.
	Survivors []SurvivorLine `json:"survivors,omitempty"`
	// Passed says for each less destructive route why it does not lead there.
	Passed   []PassedRoute        `json:"passed,omitempty"`
	Steps    []Step               `json:"steps"`
	Before   Quorum               `json:"quorum_before"`
	Loss     Loss                 `json:"loss"`
	Needs    []Need               `json:"needs,omitempty"`
	Notices  []Notice             `json:"notices,omitempty"`
	Refusal  *Refusal             `json:"refusal,omitempty"`
	Snapshot *SnapshotObservation `json:"snapshot,omitempty"`
	// Origin is where the data that the members hold came from, by the record beside
	// it; nil where none was restored or recovered.
	Origin *Provenance `json:"origin,omitempty"`
}

// MemberLine is a member of the file as the plan's first table shows it.
type MemberLine struct {
	Name  string `json:"name"`
	Seen  string `json:"seen"`  // what answers and runs
	Data  string `json:"data"`  // what lies on its disk
	Todo  string `json:"todo"`  // what the plan does with it
	Alarm bool   `json:"alarm"` // whether Seen or Data is bad news
}

// SurvivorLine is a disk that holds a log, as the plan's second table shows it.
type SurvivorLine struct {
	Name    string `json:"name"`
	Last    string `json:"last"`    // the log's end, "term 4 #20931"
	Proven  string `json:"proven"`  // up to where it is proven to be agreed on
	Verdict string `json:"verdict"` // "chosen", or why not
	Chosen  bool   `json:"chosen,omitempty"`
}

// Doubt is a fact that is not known, and that a plan does not take for anything.
type Doubt struct {
	Member string `json:"member,omitempty"` // "" for the cluster's
	Fact   string `json:"fact"`             // what is not known, "its data directory"
	// State is FactUnknown or FactContradicted, Why what stood in the way or who
	// disagrees.
	State  FactState `json:"state"`
	Why    string    `json:"why"`
	Settle string    `json:"settle"` // what would settle it
}

// PassedRoute is a route that was considered before the one taken.
type PassedRoute struct {
	Route Route  `json:"route"`
	Why   string `json:"why"`
}

// Reason says why a step is there: the line of the file that asks for it and
// the fact that makes it necessary.
type Reason struct {
	Fact string        `json:"fact"`
	Pos  spec.Position `json:"pos"`
}

// Step is an action in its place.
type Step struct {
	ID     int    `json:"id"`
	Kind   string `json:"kind"`
	Action Action `json:"action"`
	// Title says what is done, in two or three words.
	Title  string   `json:"title"`
	Target []string `json:"target"`
	Reason Reason   `json:"reason"`
	Before Quorum   `json:"quorum_before"`
	After  Quorum   `json:"quorum_after"`
	// Undo says how to go back; "" where there is no way back.
	Undo string `json:"undo,omitempty"`
	// NoUndo says why there is none, and from when on.
	NoUndo string `json:"no_undo,omitempty"`
	// Wait is what must hold before the next step, and for how long at most.
	Wait           string `json:"wait"`
	TimeoutSeconds int    `json:"timeout_seconds"`
	// Equivalent is what one would type by hand.
	Equivalent []string `json:"equivalent"`
	// Files are those of services that the step writes, line by line.
	Files []FileDiff `json:"file_changes,omitempty"`
}

// FileDiff is how a file of a member's service changes. Lines begin with "+", "-"
// or, where they stay, a space.
type FileDiff struct {
	Member string   `json:"member"`
	Host   string   `json:"host,omitempty"`
	Path   string   `json:"path"`
	New    bool     `json:"new,omitempty"`
	Lines  []string `json:"lines"`
}

// LossKind says how much of what was acknowledged may be gone.
type LossKind string

// The kinds of loss.
const (
	LossNone    LossKind = "none"    // proven
	LossUnknown LossKind = "unknown" // a lower bound at best; no upper one
)

// Loss is what the plan gives up, told as S8 demands.
type Loss struct {
	Kind LossKind `json:"kind"`
	Text string   `json:"text"`
}

// ID is the ID of the cluster as the plan leaves it, in hex.
func (p *Plan) ID() string {
	if p.NewClusterID != "" {
		return p.NewClusterID
	}
	return p.ClusterID
}

// Changes reports whether the plan would do anything.
func (p *Plan) Changes() bool { return len(p.Steps) > 0 }

// Digest is the sha256, in hex, of what the plan does: its route, its steps and
// what they need. What was merely seen (a revision that moves on while clients
// write) has no part in it, so that plans with one digest do the same things.
func (p *Plan) Digest() string {
	steps := slices.Clone(p.Steps)
	for i := range steps { // they grow with the database while clients write
		steps[i].TimeoutSeconds = 0
	}
	b, err := json.Marshal(struct {
		Cluster string
		Route   Route
		Steps   []Step
		Needs   []Need
		Refusal *Refusal
	}{p.Cluster, p.Route, steps, p.Needs, p.Refusal})
	if err != nil {
		// Only a value that JSON can't hold gets here, and a plan has none; a
		// test marshals every action.
		panic("planner: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
