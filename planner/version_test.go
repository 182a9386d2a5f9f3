package planner

import (
	"fmt"
	"testing"
)

// The tables of which server starts from what, every cell, as tried on real servers
// 3.4.45, 3.5.35, 3.6.16 and 3.7.3. Rows are what it was written by, columns the
// server.
var (
	startsOnSnapshot = map[string]string{
		"3.4": "yes yes yes yes",
		"3.5": "yes yes yes yes",
		"3.6": "no yes yes yes",
		"3.7": "no yes no yes",
	}
	startsOnDir = map[string]string{
		"3.4": "yes yes no no",
		"3.5": "no yes yes no",
		"3.6": "no no yes yes",
		"3.7": "no no no yes",
	}
	servers = []string{"3.4.45", "3.5.35", "3.6.16", "3.7.3"}
)

func TestStartsFrom(t *testing.T) {
	cells := 0
	each := func(table map[string]string, starts func(from, server string) (bool, string)) {
		for from, row := range table {
			var want [4]string
			if _, err := fmt.Sscan(row, &want[0], &want[1], &want[2], &want[3]); err != nil {
				t.Fatal(err)
			}
			for i, server := range servers {
				cells++
				if ok, why := starts(from, server); ok != (want[i] == "yes") || ok != (why == "") {
					t.Errorf("etcd %s on what %s wrote: %v %q, want %s", server, from, ok, why, want[i])
				}
			}
		}
	}
	each(startsOnSnapshot, func(from, server string) (bool, string) {
		return startsFromSnapshot(storageVersion(from), server)
	})
	each(startsOnDir, func(from, server string) (bool, string) {
		return startsFromDir(DataDir{StorageVersion: storageVersion(from), ClusterVersion: from + ".0"}, server)
	})
	if cells != 32 {
		t.Errorf("%d cells", cells)
	}
}

// storageVersion is what an etcd of that minor writes into its database: nothing
// before 3.6.
func storageVersion(minor string) string {
	if minor < "3.6" {
		return ""
	}
	return minor + ".0"
}

// A directory whose versions are not written yet may be any: that is no reason to
// refuse.
func TestStartsFromDirWithoutVersion(t *testing.T) {
	for _, cluster := range []string{"", "3.0.0"} {
		for _, server := range servers {
			if ok, why := startsFromDir(DataDir{ClusterVersion: cluster}, server); !ok {
				t.Errorf("cluster version %q, etcd %s: %s", cluster, server, why)
			}
		}
	}
	for _, server := range []string{"", "2.3.8", "etcd"} {
		if ok, _ := startsFromDir(DataDir{StorageVersion: "3.7.0"}, server); ok {
			t.Errorf("%q is taken for an etcd 3", server)
		}
	}
}

// What is too old and what is too new are refused as different states.
func TestVersionRefusals(t *testing.T) {
	for from, row := range startsOnDir {
		var want [4]string
		_, _ = fmt.Sscan(row, &want[0], &want[1], &want[2], &want[3])
		for i, server := range servers {
			in := input(threeMembers(), down, down, down)
			for _, m := range in.Cluster.Members {
				edit(&in, m.Name, func(o *MemberObservation) { o.Binary = Known(Binary{Version: server}) })
				data(&in, m.Name, func(d *DataDir) { d.StorageVersion, d.ClusterVersion = storageVersion(from), from+".0" })
			}
			code := Code("")
			switch {
			case want[i] == "yes":
			case minor(from) < minor(server):
				code = CodeDirOlder
			default:
				code = CodeBinaryVersion
			}
			p := New(in)
			if got := refusedWith(p); got != code || code == "" && len(p.States) > 0 {
				t.Errorf("etcd %s on a directory of %s: %q, found %s, want %q", server, from, got, found(p), code)
			}
		}
	}
}

func refusedWith(p *Plan) Code {
	if p.Refusal == nil {
		return ""
	}
	return p.Refusal.Code
}

// No plan updates a learner's peer URLs: an etcd that promotes it by that would have
// a voter that nobody asked for.
func TestNoLearnerIsUpdated(t *testing.T) {
	for _, version := range servers {
		for _, stays := range []bool{true, false} {
			in := input(threeMembers(), serving, serving, learner)
			in.Cluster.Members[2].Learner = stays
			in.Cluster.Members[2].PeerURLs = []string{"http://127.0.0.1:2483"}
			for _, m := range in.Cluster.Members {
				edit(&in, m.Name, func(o *MemberObservation) { o.Client.Version, o.Binary.Value.Version = version, version })
			}
			p := New(in)
			if p.Refusal != nil || len(p.Steps) == 0 {
				t.Errorf("%s: %+v", version, p.Refusal)
			}
			if a, ok := actionOf[Update](p); ok {
				t.Errorf("%s: updates %s", version, a.Name)
			}
		}
	}
}
