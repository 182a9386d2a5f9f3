package planner

import "github.com/requorum/requorum/spec"

// For the tests of the renderers, which stand outside this package.

// InputOf gives the input that the planner's own tests use: three members, or as many as there are kinds, each
// of the named kind.
func InputOf(snapshot bool, kinds ...string) Input {
	c := threeMembers()
	if len(kinds) > 3 {
		c = members(len(kinds))
	}
	if snapshot {
		withSnapshot(c)
	}
	ks := make([]kind, len(kinds))
	for i, k := range kinds {
		ks[i] = kind(k)
	}
	return input(c, ks...)
}

// RunsVersions has the members run these versions, one after the other, and the file want
// another, with an etcd of each minor version on each host.
func RunsVersions(in *Input, want string, running ...string) {
	in.Cluster.Etcd = spec.Etcd{
		Version: want, Binary: "/opt/etcd/{minor}/etcd", Pos: spec.Position{File: "demo.hcl", Line: 2},
		VersionPos: spec.Position{File: "demo.hcl", Line: 3}, BinaryPos: spec.Position{File: "demo.hcl", Line: 4},
	}
	lowest := running[0]
	for _, v := range running {
		if minor(v) < minor(lowest) {
			lowest = v
		}
	}
	cluster := minorName(minor(lowest)) + ".0"
	for i, m := range in.Cluster.Members {
		o := in.Observation.Members[m.Name]
		o.Binaries = map[string]Fact[Binary]{}
		for _, v := range []string{"3.4.45", "3.5.35", "3.6.16", "3.7.3"} {
			path := in.Cluster.Etcd.BinaryFor(lesser(v))
			o.Binaries[lesser(v)] = Known(Binary{Path: path, Version: v})
			if minor(v) == minor(want) {
				o.Binary = o.Binaries[lesser(v)]
			}
		}
		if i < len(running) && o.Service.Known() && o.Client.Reach == ReachServing {
			v := running[i]
			o.Client.Version, o.Client.ClusterVersion, o.Client.StorageVersion = v, cluster, storageIn(v, cluster)
			o.Service.Value.Binary = in.Cluster.Etcd.BinaryFor(lesser(v))
			o.Data.Value.StorageVersion, o.Data.Value.ClusterVersion = onDisk(storageIn(v, cluster)), cluster
		} else if d := &o.Data.Value; d.State == DirPresent {
			d.StorageVersion, d.ClusterVersion = onDisk(cluster), cluster
		}
		in.Observation.Members[m.Name] = o
	}
}
