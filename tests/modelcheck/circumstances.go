package main

import (
	"math"
	"slices"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// circumstance is what a state has beside its members: what the file says of the
// whole cluster, and what was seen that is nobody's.
type circumstance struct {
	name  string
	plain bool   // goes with every mixture of members within bounds
	only  int    // the largest cluster that it goes with; 0 for any
	begun string // the kind of provenance that all of it has
	edit  func(*world)
}

func circumstances() []circumstance {
	file := func(f func(*spec.Cluster)) func(*world) { return func(w *world) { f(w.in.Cluster) } }
	snap := func(f func(*spec.Snapshot, *planner.SnapshotObservation)) func(*world) {
		return func(w *world) { w.snapshot(); f(w.in.Cluster.Snapshot, w.in.Observation.Snapshot) }
	}
	each := func(f func(*planner.MemberObservation)) func(*world) {
		return func(w *world) {
			for n, o := range w.in.Observation.Members {
				f(&o)
				w.in.Observation.Members[n] = o
			}
		}
	}
	problem := func(c planner.Code) func(*world) {
		return snap(func(_ *spec.Snapshot, o *planner.SnapshotObservation) {
			*o = planner.SnapshotObservation{Source: o.Source, Problem: c, Detail: "it is not what it should be"}
		})
	}
	zero := int64(0)
	out := []circumstance{
		{name: "bare", plain: true, edit: func(*world) {}},
		{name: "snapshot", plain: true, edit: func(w *world) { w.snapshot() }},
		{name: "in place", plain: true, edit: file(func(c *spec.Cluster) { c.Recover = &spec.Recover{InPlace: true} })},

		{name: "recover from the first", edit: file(func(c *spec.Cluster) { c.Recover = &spec.Recover{From: c.Members[0].Name} })},
		{name: "recover from the last", edit: file(func(c *spec.Cluster) { c.Recover = &spec.Recover{From: c.Members[len(c.Members)-1].Name} })},
		{name: "snapshot, no bump", edit: snap(func(s *spec.Snapshot, _ *planner.SnapshotObservation) { s.RevisionBump = &zero })},
		{name: "snapshot, no hash", edit: snap(func(s *spec.Snapshot, o *planner.SnapshotObservation) { s.SkipHashCheck, o.HasHash = true, false })},
		{name: "snapshot of another sum", edit: snap(func(_ *spec.Snapshot, o *planner.SnapshotObservation) { o.SHA256 = "ab" + o.SHA256[2:] })},
		{name: "snapshot of a later etcd", edit: func(w *world) {
			w.snapshot()
			if !slices.ContainsFunc(w.ks, func(k kind) bool { return k.cond == staged || k.cond == ready }) { // nobody stages it
				w.in.Observation.Snapshot.Version = "3.8.0"
			}
		}},
		{name: "snapshot at the end of revisions", edit: snap(func(_ *spec.Snapshot, o *planner.SnapshotObservation) { o.Revision = math.MaxInt64 - 5 })},
		{name: "a directory as the source", edit: func(w *world) { w.sourceDir(false) }},
		{name: "a directory of this cluster as the source", edit: func(w *world) { w.sourceDir(true) }},
		{name: "a live source", edit: func(w *world) { w.liveSource(false) }},
		{name: "this cluster as a live source", edit: func(w *world) { w.liveSource(true) }},
		{name: "snapshot not looked at", edit: func(w *world) { w.snapshot(); w.in.Observation.Snapshot = nil }},
		{name: "begun by a restore", begun: planner.ProvenanceRestore, edit: func(w *world) { w.snapshot() }},
		{name: "begun by a bootstrap", begun: planner.ProvenanceBootstrap, edit: func(*world) {}},
		{name: "begun by a recovery", begun: planner.ProvenanceRecover, edit: func(*world) {}},
		{name: "pinned", edit: func(w *world) { w.in.Cluster.ID = w.cid }},
		{name: "pinned, another", edit: func(w *world) { w.in.Cluster.ID = "bad1d" }},
		{name: "another in the journal", edit: func(w *world) { w.in.Observation.JournalClusterID = "bad1d" }},
		{name: "no journal", edit: func(w *world) { w.in.Observation.JournalMembers = nil }},
		{name: "places in the journal", edit: func(w *world) { w.journalPlaces() }},
		{name: "started in vain", edit: func(w *world) { w.startedInVain() }},
		{name: "disks outside the file", edit: func(w *world) { w.otherDisks() }},
		{name: "lists of what runs unread", only: 3, edit: func(w *world) { w.unreadLists() }},
		{name: "compared", edit: func(w *world) { w.compared(true) }},
		{name: "diverged", edit: func(w *world) { w.compared(false) }},
		{name: "tolerance 1", edit: file(func(c *spec.Cluster) { c.Policy.MinFaultTolerance = 1 })},
		{name: "tolerance 1, strict", edit: file(func(c *spec.Cluster) { c.Policy.MinFaultTolerance, c.Policy.Strict = 1, true })},
		{name: "no loss", edit: file(func(c *spec.Cluster) { c.Policy.Prevent = []string{"data-loss"} })},
		{name: "no downtime", edit: file(func(c *spec.Cluster) { c.Policy.Prevent = []string{"downtime"} })},
		{name: "saved before", edit: file(func(c *spec.Cluster) { c.Policy.SnapshotBefore = "membership" })},
		{name: "saved before, nowhere", edit: func(w *world) {
			w.in.Cluster.Policy.SnapshotBefore = "always"
			each(func(o *planner.MemberObservation) { o.Base = "" })(w)
		}},
		{name: "tail dropped", edit: func(w *world) { w.in.Accept = map[planner.Consent]bool{planner.ConsentTailDrop: true} }},
		{name: "two learners", edit: file(func(c *spec.Cluster) { c.Etcd.Config = map[string]string{"max-learners": "2"} })},
		{name: "older binary", edit: each(func(o *planner.MemberObservation) { o.Binary = planner.Known(planner.Binary{Version: "3.6.16"}) })},
		{name: "no binary", edit: each(func(o *planner.MemberObservation) { o.Binary = planner.Unknown[planner.Binary]("no such file") })},
		{name: "another version wanted", edit: file(func(c *spec.Cluster) { c.Etcd.Version = "3.6" })},
		{name: "no room", edit: each(func(o *planner.MemberObservation) { o.FreeBytes = planner.Known[int64](1) })},
		{name: "runs unseen", edit: func(w *world) { w.unseen() }},
		{name: "alarms", only: 3, edit: each(func(o *planner.MemberObservation) {
			if o.Client.Reach == planner.ReachServing {
				o.Client.Alarms = []string{"NOSPACE on " + o.Client.MemberID}
			}
		})},

		{name: "corrupt", only: 2, edit: each(func(o *planner.MemberObservation) {
			if o.Client.Reach == planner.ReachServing {
				o.Client.Alarms = []string{"CORRUPT on " + o.Client.MemberID}
			}
		})},
		{name: "auth, and no user", only: 2, edit: each(func(o *planner.MemberObservation) {
			o.Client.Sealed = o.Client.Reach == planner.ReachServing
		})},
		{name: "a downgrade", only: 2, edit: each(func(o *planner.MemberObservation) {
			if o.Client.Reach == planner.ReachServing {
				o.Client.Downgrade = "3.6.0"
			}
		})},
		{name: "the first a minor behind", only: 3, edit: func(w *world) {
			n := w.in.Cluster.Members[0].Name
			if o := w.in.Observation.Members[n]; o.Client.Reach == planner.ReachServing {
				o.Client.Version = "3.6.16"
				w.in.Observation.Members[n] = o
			}
		}},
		{name: "a flapping leader", only: 3, edit: each(func(o *planner.MemberObservation) {
			o.Client.Metrics = planner.Known(planner.Metrics{UpSeconds: 60, LeaderChanges: 50, FsyncSeconds: 2})
		})},
		{name: "much to do", only: 3, edit: each(func(o *planner.MemberObservation) {
			o.Client.Metrics = planner.Known(planner.Metrics{UpSeconds: 3600, LeaderChanges: 1, FsyncSeconds: 0.001, Pending: 5000, FailedTotal: 5000})
		})},
		{name: "directories of 3.5", only: 2, edit: each(func(o *planner.MemberObservation) {
			if d := &o.Data.Value; d.ClusterID != "" {
				d.StorageVersion, d.ClusterVersion = "", "3.5.0"
			}
		})},

		{name: "on another host", only: 1, edit: file(func(c *spec.Cluster) {
			c.Hosts = []spec.Host{{Name: "far", Access: spec.AccessSSH, Service: spec.Service{Kind: spec.ServiceProcess}}}
			c.Members[0].Host = "far"
		})},
		{name: "by a person", only: 1, edit: file(func(c *spec.Cluster) {
			c.Hosts = []spec.Host{{Name: "far", Access: spec.AccessManual}}
			c.Members[0].Host = "far"
		})},
		{name: "under commands", only: 1, edit: file(func(c *spec.Cluster) {
			c.Hosts = []spec.Host{{Name: "here", Access: spec.AccessLocal, Service: spec.Service{Kind: spec.ServiceCommand}}}
			c.Members[0].Host = "here"
		})},
		{name: "under a packaged unit", only: 3, edit: underSystemd(func(*planner.Unit) {})},
		{name: "under units of requorum's", only: 2, edit: underSystemd(func(u *planner.Unit) {
			path := planner.UnitPath(u.Name)
			u.Fragment, u.Ours, u.Files = path, true, map[string]string{path: "# Written by requorum\n"}
		})},
		{name: "without a unit yet", only: 2, edit: underSystemd(func(u *planner.Unit) {
			u.Load, u.Fragment, u.Program, u.Enabled = "not-found", "", nil, ""
		})},
		{name: "under a unit that is masked", only: 1, edit: underSystemd(func(u *planner.Unit) { u.Load = "masked" })},
		{name: "under a unit that somebody unmasks", only: 2, edit: underSystemd(func(u *planner.Unit) { u.Barred, u.Undone = true, "etcd.service was unmasked" })},
		{name: "auth", only: 1, edit: file(func(c *spec.Cluster) { c.Auth = &spec.Auth{} })},
	}
	out = append(out, tlsCircumstances()...)
	for _, sign := range []string{planner.SignDiskFull, planner.SignTooManyLearner, planner.SignPeerTLS, planner.SignOverloaded, planner.SignIDMismatch, planner.SignSlowDisk, planner.SignClockDrift} {
		out = append(out, circumstance{name: "the logs tell of " + sign, only: 2, edit: each(func(o *planner.MemberObservation) {
			o.Service.Value.Signs = []planner.LogSign{{Kind: sign, Text: sign}}
		})})
	}
	for _, c := range []planner.Code{
		planner.CodeSnapshotMissing, planner.CodeSnapshotUnreadable, planner.CodeSnapshotDamaged, planner.CodeSnapshotNoHash,
		planner.CodeSnapshotNotEtcd, planner.CodeSnapshotWrongSHA, planner.CodeSnapshotUnsupported,
	} {
		out = append(out, circumstance{name: "the snapshot: " + string(c), only: 2, edit: problem(c)})
	}
	return out
}
