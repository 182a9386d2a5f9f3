// Package saved is a plan as a file: all that it follows from, the plan itself, and
// a digest that a person can read out. What it takes to carry one out again stands
// in it, but for secrets: those are named, and asked for again.
//
// A saved plan is never trusted with steps. Whoever applies it looks at the cluster,
// plans again from the file's own inputs, and goes on only where that gives the same
// steps ([File.Compare]); what is carried out is the plan that was made last.
package saved

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// Basis says what a plan was made from.
type Basis string

// The bases of a plan.
const (
	BasisObserved Basis = "observed" // a cluster that was looked at
	BasisDiff     Basis = "diff"     // a cluster made up as another file says; it can't be applied
)

// Ephemeral is a secret that the plan needs and the file does not have.
type Ephemeral struct {
	Attribute string `json:"attribute"` // "auth.password", "snapshot.source"
	// Variable is the one that gives it; "" where it is computed from more than one,
	// or stands in the configuration itself.
	Variable string `json:"variable,omitempty"`
}

// About is what a saved plan says of its making, beside what it follows from.
type About struct {
	Version   string // of requorum
	Machine   string // whose own members are "on this machine"
	Source    string // path of the configuration, absolute
	Basis     Basis
	Ephemeral []Ephemeral
	// Changes are those between two files, for a plan that diff makes.
	Changes []Change
}

// Inputs are what the plan follows from.
type Inputs struct {
	// Source is where the configuration was read, for people, and to read secrets
	// that no variable gives.
	Source        string              `json:"source,omitempty"`
	Configuration *spec.Cluster       `json:"configuration"`
	Accept        []string            `json:"accept"`
	Token         string              `json:"token"` // for a new identity, should there be one
	Observation   planner.Observation `json:"observation"`
	// Logs says which entries the logs in Observation have in common; see packSums.
	Logs map[string]string `json:"logs,omitempty"`
}

// Sums are the sha256 of what went into the plan, in hex.
type Sums struct {
	Configuration string `json:"configuration"` // as loaded; layout and order of members have no part in it
	Observation   string `json:"observation"`
	Snapshot      string `json:"snapshot,omitempty"` // as the plan proved it
}

// File is a saved plan that was read.
type File struct {
	Format    string      `json:"requorum_plan"`
	Digest    string      `json:"digest"`
	Version   string      `json:"requorum_version"`
	Timestamp string      `json:"timestamp"` // RFC 3339, UTC
	By        string      `json:"by"`
	Machine   string      `json:"machine"`
	Basis     Basis       `json:"basis"`
	Sums      Sums        `json:"sha256"`
	Ephemeral []Ephemeral `json:"ephemeral"`
	Changes   []Change    `json:"changes"`
	Inputs    Inputs      `json:"inputs"`

	Plan *planner.Plan `json:"-"`
	// Unchecked says why it is not known that Plan is what Inputs lead to; "" where it
	// is. Whoever has called Derive sets it.
	Unchecked string `json:"-"`
	text      []byte // as it was read, compact
}

// document is the file as it is written: its own keys, the plan's between them.
type document struct {
	Format          string      `json:"requorum_plan"`
	Digest          string      `json:"digest"`
	FormatVersion   string      `json:"format_version"`
	Version         string      `json:"requorum_version"`
	Timestamp       string      `json:"timestamp"`
	By              string      `json:"by"`
	Machine         string      `json:"machine"`
	Basis           Basis       `json:"basis"`
	Sums            Sums        `json:"sha256"`
	Ephemeral       []Ephemeral `json:"ephemeral"`
	Changes         []Change    `json:"changes,omitempty"`
	*planner.Plan               // its requorum_plan and steps are the ones here
	Steps           []step      `json:"steps"`
	Risk            worst       `json:"risk"`
	ResourceChanges []Resource  `json:"resource_changes"`
	ResourceDrift   []Resource  `json:"resource_drift"`
	Inputs          *Inputs     `json:"inputs,omitempty"`
}

type step struct {
	planner.Step
	Risk planner.Risk `json:"risk"`
}

type worst struct {
	planner.Risk
	Step int `json:"step"` // the first that has it; 0 for none
}

// Encode gives the file of a plan, indented, with its digest.
func Encode(in planner.Input, p *planner.Plan, about About) ([]byte, error) {
	d, err := documentOf(in, p, about)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	digest, err := digestOf(b)
	if err != nil {
		return nil, err
	}
	b = bytes.Replace(b, []byte(d.Digest), []byte(digest), 1)
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// documentOf is the file of a plan, with a digest of zeros.
func documentOf(in planner.Input, p *planner.Plan, about About) (document, error) {
	d := document{
		Format: planner.FormatVersion, Digest: strings.Repeat("0", digestLen), FormatVersion: planner.FormatVersion,
		Version: about.Version, Timestamp: in.Now, By: in.By, Machine: about.Machine, Basis: about.Basis,
		Ephemeral: append([]Ephemeral{}, about.Ephemeral...), Changes: about.Changes, Plan: p, Steps: []step{},
		ResourceChanges: resourceChanges(in, p), ResourceDrift: resourceDrift(in, p),
		Inputs: &Inputs{Source: about.Source, Configuration: in.Cluster, Accept: acceptedNames(in.Accept), Token: in.Token, Observation: in.Observation, Logs: packSums(in.Observation)},
	}
	if p.Changes() {
		d.Risk.Risk, d.Risk.Step = p.Risk()
	} else {
		d.Risk.Risk, _ = (&planner.Plan{}).Risk()
	}
	for _, s := range p.Steps {
		d.Steps = append(d.Steps, step{s, s.Risk()})
	}
	var err error
	d.Sums, err = sums(in)
	if about.Basis == BasisDiff {
		d.Inputs, d.Sums.Observation = nil, ""
	}
	return d, err
}

func acceptedNames(given map[planner.Consent]bool) []string {
	out := []string{}
	for c, ok := range given {
		if ok {
			out = append(out, string(c))
		}
	}
	slices.Sort(out)
	return out
}

// Is reports whether b begins as a saved plan does: whatever follows, it was meant
// as one.
func Is(b []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(`"requorum_plan"`))
}

// A ForeignError says that a file can't be this requorum's to apply.
type ForeignError struct{ Why string }

// Error implements error.
func (e *ForeignError) Error() string { return "this plan is foreign: " + e.Why }

// An EditedError says that a file is not as requorum wrote it.
type EditedError struct{ Why string }

// Error implements error.
func (e *EditedError) Error() string {
	return "this plan was edited after it was made: " + e.Why + ". Change the configuration and plan again instead"
}

// Parse reads a saved plan. The error is a *ForeignError where it is of another
// format, an *EditedError where its digest is not its own. Whether it is what it
// follows from, Derive tells.
func Parse(b []byte) (*File, error) {
	var head struct {
		Format string `json:"requorum_plan"`
		Digest string `json:"digest"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, &EditedError{"it is no JSON: " + err.Error()}
	}
	if major, _, _ := strings.Cut(head.Format, "."); major != "1" {
		return nil, &ForeignError{fmt.Sprintf("its format is %q, and this requorum reads 1.x", head.Format)}
	}
	digest, err := digestOf(b)
	if err != nil {
		return nil, &EditedError{err.Error()}
	}
	if head.Digest != digest {
		return nil, &EditedError{"its digest " + head.Digest + " is not its content's"}
	}
	return read(b)
}

// read reads a saved plan, whatever its digest.
func read(b []byte) (*File, error) {
	f := &File{Plan: &planner.Plan{}}
	var text bytes.Buffer
	if err := json.Compact(&text, b); err != nil {
		return nil, &EditedError{err.Error()}
	}
	f.text = text.Bytes()
	if err := json.Unmarshal(b, f); err != nil {
		return nil, &ForeignError{"it does not have the form of one: " + err.Error()}
	}
	if err := json.Unmarshal(b, f.Plan); err != nil {
		return nil, &ForeignError{"it was made by requorum " + f.Version + ", and this one can't read all of it: " + err.Error()}
	}
	if f.Basis == BasisObserved && f.Inputs.Configuration == nil {
		return nil, &ForeignError{"it has no inputs"}
	}
	if err := unpackSums(f.Inputs.Observation, f.Inputs.Logs); err != nil {
		return nil, &ForeignError{"it does not have the form of one: " + err.Error()}
	}
	return f, nil
}

// Input is what the plan is made from again, with what is seen now.
func (f *File) Input(now planner.Observation, accept map[planner.Consent]bool) planner.Input {
	return planner.Input{
		Cluster: f.Inputs.Configuration, Observation: f.remembering(now), Token: f.Inputs.Token, Now: f.Timestamp, By: f.By, Accept: accept,
	}
}

// remembering is what is seen now, with what the journal of the machine that planned
// remembers: whom the file applied last named, and where. Whoever applies the plan may
// have no such journal. Which cluster was here last is asked of the one that is at
// hand.
func (f *File) remembering(now planner.Observation) planner.Observation {
	then := f.Inputs.Observation
	now.JournalMembers, now.JournalPlaces = then.JournalMembers, then.JournalPlaces
	now.Members = maps.Clone(now.Members)
	for name, m := range now.Members {
		was, d := then.Members[name].Data.Value, m.Data.Value
		if !m.Data.Known() || d.State != was.State {
			continue
		}
		for _, sign := range was.Evidence { // that data was there once
			if !slices.Contains(d.Evidence, sign) {
				m.Data.Value.Evidence = append(slices.Clone(m.Data.Value.Evidence), sign)
				now.Members[name] = m
			}
		}
	}
	return now
}
