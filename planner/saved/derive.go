package saved

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/requorum/requorum/planner"
)

// A DerivedError says that a plan is not the one that its own inputs lead to, and that
// another version made it, or secrets are left out of it, which may be why.
type DerivedError struct{ Why string }

// Error implements error.
func (e *DerivedError) Error() string {
	return "that this plan is what its own inputs lead to can't be checked: " + e.Why
}

// Derive makes the plan again from the file's own inputs, and compares all that the
// file says with what would be written of it: so nothing that a person reads in it
// (a title, a reason, a loss, a resource) can be another than what is done, whoever
// wrote the digest. The error is an *EditedError where this version made it, a
// *DerivedError where that can't be told. A plan of diff has no inputs.
func (f *File) Derive(version string) error {
	if f.Basis != BasisObserved {
		return nil
	}
	accept := map[planner.Consent]bool{}
	for _, name := range f.Inputs.Accept {
		accept[planner.Consent(name)] = true
	}
	in := f.Input(f.Inputs.Observation, accept)
	var again []byte
	d, err := documentOf(in, planner.New(in), About{
		Version: f.Version, Machine: f.Machine, Source: f.Inputs.Source, Basis: f.Basis, Ephemeral: f.Ephemeral, Changes: f.Changes,
	})
	if err == nil {
		d.Digest = f.Digest
		again, err = json.Marshal(d)
	}
	if err != nil {
		return err
	}
	if bytes.Equal(again, f.text) {
		return nil
	}
	switch {
	case f.Version != version:
		return &DerivedError{fmt.Sprintf("requorum %s made it, and %s would write it otherwise", f.Version, version)}
	case f.Inputs.Configuration.Snapshot.NameHidden():
		return &DerivedError{"the snapshot's source is a secret that is not in it"}
	}
	return &EditedError{"it is not what its own inputs lead to"}
}

// The sums of logs are many numbers, of which only one thing counts: which logs have
// the same entry at an index. The file has that, as runs "CLASSxCOUNT" from a log's
// first sum on; equal classes are equal entries.

// behind is added to a member's name for the log behind its fence.
const behind = " behind its fence"

// maxSums is more than any log has.
const maxSums = 1 << 20

// logsOf are the logs in an observation, by whose they are.
func logsOf(o planner.Observation) map[string]*planner.Log {
	out := map[string]*planner.Log{}
	for name, m := range o.Members {
		if l := m.Data.Value.Log; l != nil {
			out[name] = l
		}
		if d := m.Data.Value.Fenced; d != nil && d.Log != nil {
			out[name+behind] = d.Log
		}
	}
	if s := o.Snapshot; s != nil && s.Dir != nil && s.Dir.Log != nil {
		out[""] = s.Dir.Log
	}
	return out
}

// packSums gives the sums of all logs as runs.
func packSums(o planner.Observation) map[string]string {
	logs := logsOf(o)
	classes := map[string][]int{}
	names := slices.Sorted(maps.Keys(logs))
	type place struct{ index, sum uint64 }
	known, next := map[place]int{}, map[uint64]int{}
	for _, name := range names {
		l := logs[name]
		for i, sum := range l.Sums {
			at := place{l.SumsFirst + uint64(i), uint64(sum)}
			c, ok := known[at]
			if !ok {
				c = next[at.index]
				known[at], next[at.index] = c, c+1
			}
			classes[name] = append(classes[name], c)
		}
	}
	out := map[string]string{}
	for name, list := range classes {
		var runs []string
		for i := 0; i < len(list); {
			n := i
			for n < len(list) && list[n] == list[i] {
				n++
			}
			runs = append(runs, fmt.Sprintf("%dx%d", list[i], n-i))
			i = n
		}
		out[name] = strings.Join(runs, " ")
	}
	return out
}

// unpackSums puts sums into an observation that compare as those it was made with.
func unpackSums(o planner.Observation, packed map[string]string) error {
	logs := logsOf(o)
	for name, text := range packed {
		l := logs[name]
		if l == nil {
			return fmt.Errorf("it has the entries of a log that it does not have (%q)", name)
		}
		for _, run := range strings.Fields(text) {
			a, b, _ := strings.Cut(run, "x")
			class, err := strconv.ParseUint(a, 10, 32)
			n, err2 := strconv.ParseUint(b, 10, 32)
			if err != nil || err2 != nil || len(l.Sums)+int(n) > maxSums {
				return fmt.Errorf("%q is no run of a log's entries", run)
			}
			l.Sums = append(l.Sums, slices.Repeat([]uint32{uint32(class)}, int(n))...)
		}
	}
	return nil
}
