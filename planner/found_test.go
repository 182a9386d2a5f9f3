package planner

import (
	"slices"
	"testing"

	"github.com/requorum/requorum/spec"
)

// TestFoundByModelCheck has one observation for each thing that the model check
// found wrong, as small as it could be made.
func TestFoundByModelCheck(t *testing.T) {
	tocommit := func(in *Input, name string) {
		edit(in, name, func(o *MemberObservation) {
			o.Service = Known(Service{State: ServiceFailed, LastError: "tocommit(49) is out of range [lastIndex(48)]"})
		})
	}
	inPlace := func(c *spec.Cluster) { c.Recover = &spec.Recover{InPlace: true} }
	behind := func(in *Input, name string) {
		data(in, name, func(d *DataDir) { d.LastIndex, d.Commit, d.Log = 1190, 1190, logTo(1190) })
	}
	for _, tc := range []struct {
		name  string
		kinds []kind
		file  func(*spec.Cluster)
		edit  func(*Input)
		route Route
		code  Code
		first string // step
	}{
		{name: "the file makes learners of all", kinds: []kind{serving, serving, serving}, file: func(c *spec.Cluster) {
			for i := range c.Members {
				c.Members[i].Learner = true
			}
		}, code: CodeFeatureUnsupported},
		{name: "a disk that lost entries, behind the fence, is not started", kinds: []kind{fenced, missing, missing},
			edit: func(in *Input) {
				tocommit(in, "m1")
				data(in, "m1", func(d *DataDir) { d.Fenced.Members = d.Fenced.Members[:1] })
			}, route: RouteRecover},
		{name: "last words of before an install are not of what lies there now", kinds: []kind{down}, file: inPlace, edit: func(in *Input) {
			tocommit(in, "m1")
			data(in, "m1", func(d *DataDir) {
				d.Provenance, d.ProvenanceAgrees, d.EverRan = &Provenance{Kind: ProvenanceForceNew, Token: "force-new-x"}, true, false
			})
		}, route: RouteStart},
		{name: "a recovery in place of a cluster of one, cut after its copy, is no bootstrap", kinds: []kind{fenced}, file: inPlace, edit: func(in *Input) {
			tocommit(in, "m1")
			data(in, "m1", func(d *DataDir) {
				d.EverRan, d.Staged = false, "force-new-x"
				d.Provenance = &Provenance{Kind: ProvenanceForceNew, Token: "force-new-x", InitialCluster: in.Cluster.InitialCluster()}
			})
		}, route: RouteRecover},
		{name: "a learner proves what the voters' disks have lost", kinds: []kind{down, down, learner}, edit: func(in *Input) {
			behind(in, "m1")
			behind(in, "m2")
		}, route: RouteRecover},
		{name: "a learner of another history is not started beside", kinds: []kind{down, down, learner}, edit: func(in *Input) {
			data(in, "m3", func(d *DataDir) {
				d.Log = logTo(1200)
				d.Log.Sums = slices.Clone(d.Log.Sums)
				for i := range d.Log.Sums {
					d.Log.Sums[i]++
				}
				d.Log.Sums[0]--
			})
		}, code: CodeSplitCluster},
		{name: "a pinned ID holds behind the fence too", kinds: []kind{fenced, fenced, fenced}, file: func(c *spec.Cluster) { c.ID = "bad1d" }, code: CodeClusterIDChanged},
		{name: "another cluster's data beside a fence is nobody's to recover from", kinds: []kind{fenced, down, missing}, edit: func(in *Input) {
			data(in, "m2", func(d *DataDir) { d.ClusterID, d.MemberID = "f0f0", "f1f1" })
		}, code: CodeForeignData},
		{name: "nobody is stopped whose data can't be looked at", kinds: []kind{serving, serving, blind}, edit: func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) { o.Service.Value.Args = append(o.Service.Value.Args, "--snapshot-count=5") })
		}, code: CodeDataUnknown},
		{name: "what was set aside and can't be read is a cluster that was", kinds: []kind{fenced, fresh, fresh}, edit: func(in *Input) {
			data(in, "m1", func(d *DataDir) { d.Fenced = &DataDir{State: DirPresent, Problem: "no WAL file can be read"} })
		}, code: CodeDataDamaged},
		{name: "a process on a directory that is gone has no part in a restore", kinds: []kind{hollow, installed, installed}, file: func(c *spec.Cluster) { withSnapshot(c) }, code: CodeDataHeld},
		{name: "one that serves and can't be looked at counts for the start of another", kinds: []kind{blind, down, missing}, route: RouteStart},
		{name: "a place to be made free has no room for what comes", kinds: []kind{serving, serving, removed}, edit: func(in *Input) {
			edit(in, "m3", func(o *MemberObservation) { o.FreeBytes = Known[int64](1) })
		}, code: CodeNoRoom},
		{name: "members take a second learner before one is added", kinds: []kind{serving, serving, newcomer}, file: func(c *spec.Cluster) {
			c.Etcd.Config = map[string]string{"max-learners": "2"}
		}, edit: func(in *Input) { // they run without it
			for _, n := range []string{"m1", "m2"} {
				edit(in, n, func(o *MemberObservation) {
					o.Service.Value.Args = slices.DeleteFunc(slices.Clone(o.Service.Value.Args), func(a string) bool { return a == "--max-learners=2" })
				})
			}
		}, route: RouteReconfigure, first: "stop"},
		{name: "an older etcd does not finish a restore", kinds: []kind{installed, installed, installed}, edit: func(in *Input) {
			for _, n := range []string{"m1", "m2", "m3"} {
				edit(in, n, func(o *MemberObservation) { o.Binary = Known(Binary{Version: "3.6.16"}) })
			}
		}, code: CodeBinaryVersion},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := threeMembers()
			c.Members = c.Members[:len(tc.kinds)]
			if tc.file != nil {
				tc.file(c)
			}
			in := input(c, tc.kinds...)
			if tc.kinds[len(tc.kinds)-1] == learner { // all are down
				edit(&in, "m3", func(o *MemberObservation) {
					o.Client, o.Peer = Endpoint{Reach: ReachRefused}, PeerEndpoint{Reach: ReachRefused}
					o.Service, o.Data.Value.HeldBy = Known(Service{State: ServiceStopped}), 0
				})
			}
			if tc.edit != nil {
				tc.edit(&in)
			}
			p := New(in)
			if tc.first != "" && (len(p.Steps) == 0 || p.Steps[0].Kind != tc.first) {
				t.Errorf("steps %q, want %s first", stepKinds(p), tc.first)
			}
			code := Code("")
			if p.Refusal != nil {
				code = p.Refusal.Code
			}
			if code != tc.code || code == "" && p.Route != tc.route {
				t.Errorf("route %q, steps %q, %+v", p.Route, stepKinds(p), p.Refusal)
			}
		})
	}
}
