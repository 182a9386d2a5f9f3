package main

import (
	"strconv"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// The versions of a cluster, and of the file: what runs, what is wanted, and what lies on
// the hosts.

// versions has the members run one version, the first another if that is given, with an
// etcd of each of have on every host.
func versions(want string, have []string, runs ...string) func(*world) {
	return func(w *world) {
		e := spec.Etcd{Version: want, Binary: "/opt/etcd/{minor}/etcd"}
		w.in.Cluster.Etcd = e
		lowest := runs[len(runs)-1]
		if minorOf(runs[0]) < minorOf(lowest) {
			lowest = runs[0]
		}
		cluster := "3." + strconv.Itoa(minorOf(lowest)) + ".0"
		for i, m := range w.in.Cluster.Members {
			o := w.in.Observation.Members[m.Name]
			v := runs[len(runs)-1]
			if i == 0 {
				v = runs[0]
			}
			o.Binaries = map[string]planner.Fact[planner.Binary]{}
			for _, n := range spec.Minors() {
				o.Binaries[n] = planner.Unknown[planner.Binary]("there is no etcd")
			}
			for _, h := range have {
				n := "3." + strconv.Itoa(minorOf(h))
				o.Binaries[n] = planner.Known(planner.Binary{Path: e.BinaryFor(n), Version: h})
			}
			o.Binary = o.Binaries["3."+strconv.Itoa(minorOf(want))]
			if o.Client.Reach == planner.ReachServing {
				o.Client.Version, o.Client.ClusterVersion, o.Client.StorageVersion = v, cluster, stored(v, cluster)
			}
			if o.Service.Known() && o.Service.Value.Binary == "requorum" {
				o.Service.Value.Binary = e.BinaryFor("3." + strconv.Itoa(minorOf(v)))
			}
			for _, d := range []*planner.DataDir{&o.Data.Value, o.Data.Value.Fenced} {
				if d == nil || d.ClusterID == "" {
					continue
				}
				d.StorageVersion, d.ClusterVersion = stored(v, cluster), cluster
				if minorOf(d.StorageVersion) < 6 {
					d.StorageVersion = ""
				}
				if minorOf(v) <= 5 {
					d.OldEntry = 9
				}
			}
			w.in.Observation.Members[m.Name] = o
		}
		v := runs[len(runs)-1]
		for i := range w.in.Observation.Others {
			if e := &w.in.Observation.Others[i].Client; e.Reach == planner.ReachServing {
				e.Version, e.ClusterVersion, e.StorageVersion = v, cluster, stored(v, cluster)
			}
		}
	}
}

// toldBack has the cluster on its way back to a version.
func toldBack(to string, then func(*world)) func(*world) {
	return func(w *world) {
		then(w)
		for n, o := range w.in.Observation.Members {
			if o.Client.Reach == planner.ReachServing {
				o.Client.Downgrade, o.Client.ClusterVersion, o.Client.StorageVersion = to, to, to
			}
			w.in.Observation.Members[n] = o
		}
		for i := range w.in.Observation.Others {
			if e := &w.in.Observation.Others[i].Client; e.Reach == planner.ReachServing {
				e.Downgrade, e.ClusterVersion, e.StorageVersion = to, to, to
			}
		}
	}
}

func minorOf(version string) int {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return -1
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return -1
	}
	return n
}

func patchOf(version string) int {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 3 {
		return -1
	}
	n, err := strconv.Atoi(parts[2])
	if err != nil {
		return -1
	}
	return n
}

// stored is the storage version of a server in a cluster of this version.
func stored(version, cluster string) string {
	if minorOf(version) < 6 {
		return ""
	}
	return cluster
}

// latePatch is what all members have to run before the next minor.
var latePatch = map[int]int{5: 32, 6: 11}

// V1. One minor at a time: a member is started with no etcd that is more than one minor
// beside another member's, or beside what the cluster has agreed on; with none that is
// older than that; and brought to the next minor only beside late patches of the last.
// V2. An etcd reads its disk: 3.7 ends at entries of 3.5 that it would read again.
func (v *visit) version(m *planner.StartMember, before *planner.Observation) {
	o := before.Members[m.Name]
	n := minorOf(etcdAt(&o, m.Binary))
	if d := o.Data.Value; n >= 7 && d.State == planner.DirPresent && d.OldEntry > 0 {
		v.sayf(v2, "starts %s with etcd 3.%d, and entry #%d of its log is older than it can read", m.Name, n, d.OldEntry)
	}
	if v.was == nil || n < 0 || m.ClusterID != v.p.ClusterID {
		return
	}
	last := minorOf(etcdAt(&o, o.Service.Value.Binary))
	eachClient(before, func(name string, e *planner.Endpoint) {
		at, other := minorOf(e.ClusterVersion), minorOf(e.Version)
		switch {
		case e.ClusterID != m.ClusterID || name == m.Name:
		case at >= 0 && (n > at+1 || n < at):
			v.sayf(v1, "starts %s with etcd 3.%d in a cluster at %s", m.Name, n, e.ClusterVersion)
		case other >= 0 && (n > other+1 || n < other-1):
			v.sayf(v1, "starts %s with etcd 3.%d beside %s with %s", m.Name, n, name, e.Version)
		case other == n-1 && last == n-1 && patchOf(e.Version) < latePatch[other]:
			v.sayf(v1, "brings %s to etcd 3.%d beside %s with %s", m.Name, n, name, e.Version)
		}
	})
}

// etcdAt is the version of the etcd at a path, as the member's host has it.
func etcdAt(o *planner.MemberObservation, path string) string {
	for _, b := range o.Binaries {
		if b.Known() && b.Value.Path == path {
			return b.Value.Version
		}
	}
	return o.Binary.Value.Version
}

// V3. The leader last: once the lead was moved within a round of restarts, nobody but who
// had it is stopped before the round is over, so that it moves once.
func (v *visit) leaderLast() {
	from := ""
	if !v.rolls() {
		return
	}
	for _, s := range v.p.Steps {
		switch a := s.Action.(type) {
		case planner.Update, planner.Add, planner.Remove:
			return // restarts of another kind
		case planner.MoveLeader:
			if from != "" {
				v.sayf(v3, "the lead is moved from %s and from %s in one round", from, a.From)
			}
			from = a.From
		case planner.Stop:
			if from != "" && a.Members[0].Name != from {
				v.sayf(v3, "%s is stopped after %s, which led", a.Members[0].Name, from)
			}
		case planner.Start:
			if o := v.in.Observation.Members[a.Members[0].Name]; minorOf(etcdAt(&o, a.Members[0].Binary)) == minorOf(o.Client.Version) {
				from = "" // with the minor that it runs: before the roll
			}
		case planner.Verify:
			from = ""
		}
	}
}

func (v *visit) rolls() bool {
	for _, s := range v.p.Steps {
		if a, ok := s.Action.(planner.Verify); ok && a.Version != "" {
			return true
		}
	}
	return false
}

// anotherRound reports whether a step does again what an earlier one did because another
// version comes: the same member is stopped, or hands the lead over, for the next minor.
func (v *visit) anotherRound(earlier int, s planner.Step) bool {
	switch s.Action.(type) {
	case planner.Stop, planner.MoveLeader:
	default:
		return false
	}
	for _, t := range v.p.Steps[earlier : s.ID-1] {
		if a, ok := t.Action.(planner.Start); ok && v.rolls() && a.Members[0].Binary != "" {
			return true
		}
	}
	return false
}
