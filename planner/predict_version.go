package planner

import (
	"fmt"
	"strings"
)

// What becomes of the versions.

// etcd is the binary at path, as its host has it: one of those for each minor version,
// or the file's.
func (o *MemberObservation) etcd(path string) Fact[Binary] {
	for _, b := range o.Binaries {
		if b.Known() && b.Value.Path == path && path != "" {
			return b
		}
	}
	return o.Binary
}

// runsEtcd is the binary that the member's service runs.
func (o *MemberObservation) runsEtcd() Fact[Binary] {
	if !o.Service.Known() {
		return o.Binary
	}
	return o.etcd(o.Service.Value.Binary)
}

// takesIn says why a cluster does not take in a member with this version; "" where it
// does. etcd compares with the cluster's version when a member starts
// (server/etcdserver/cluster_util.go, isCompatibleWithVers).
func (f *forecast) takesIn(clusterID, version string) string {
	at, n := minor(f.version), minor(version)
	if clusterID != f.cid || at < 0 || n < 0 {
		return ""
	}
	switch {
	case n > at+1:
		return fmt.Sprintf("the cluster is at etcd 3.%d, and takes no member with %s", at, version)
	case n < at:
		return fmt.Sprintf("the cluster is at etcd 3.%d already, and %s is older", at, version)
	}
	return ""
}

// versioned is what a member that serves says of versions: its own, which the cluster's
// does not follow at once.
func (f *forecast) versioned(e *Endpoint, cid string) {
	if n := minor(e.Version); cid == f.cid && f.version != "" {
		e.ClusterVersion = f.version
	} else if n >= 0 && minor(e.ClusterVersion) <= 0 { // what its disk said of it stays
		e.ClusterVersion = minorName(n) + ".0"
	}
	if storageOf(e.Version) != "" { // older ones do not tell
		e.Downgrade = f.told
	}
	e.StorageVersion = storageIn(e.Version, e.ClusterVersion)
}

// storageIn is the storage version that a server writes in a cluster of this version: no
// later one than all understand; "" for servers before 3.6, which write none.
func storageIn(version, cluster string) string {
	if n := minor(cluster); storageOf(version) != "" && n >= 0 && n < minor(version) {
		return minorName(n) + ".0"
	}
	return storageOf(version)
}

// onDisk is how a database says its storage version: not at all before 3.6.
func onDisk(storage string) string {
	if minor(storage) < 6 {
		return ""
	}
	return storage
}

// come has the whole cluster at a minor version, where all that it lists run it.
func (f *forecast) come(version string) error {
	if why := arrived(version, &f.obs, f.ms, f.list, false); why != "" {
		return fmt.Errorf("the cluster does not come to etcd %s: %s", version, why)
	}
	f.eachServing(func(e *Endpoint) {
		e.ClusterVersion, e.Downgrade = version+".0", ""
		e.StorageVersion = storageIn(e.Version, e.ClusterVersion)
	})
	f.version = version + ".0"
	return nil
}

// arrived says why a cluster is not at a minor version as a whole; "" where it is. noticed
// is whether its members have to say so themselves.
func arrived(version string, obs *Observation, ms []MemberObservation, list []ListedMember, noticed bool) string {
	at := func(id string) *Endpoint {
		for i := range ms {
			if e := &ms[i].Client; e.Reach == ReachServing && e.MemberID == id {
				return e
			}
		}
		for i := range obs.Others {
			if e := &obs.Others[i].Client; e.Reach == ReachServing && e.MemberID == id {
				return e
			}
		}
		return nil
	}
	for _, l := range list {
		switch e := at(l.ID); {
		case e == nil:
			return nameOf(l) + " is listed and does not answer"
		case minor(e.Version) != minor(version):
			return fmt.Sprintf("%s runs etcd %s", nameOf(l), orWord(e.Version, "(version not known)"))
		case noticed && minor(e.ClusterVersion) != minor(version):
			return fmt.Sprintf("%s says that it is at %s", nameOf(l), orWord(e.ClusterVersion, "no version that is known"))
		case noticed && e.Downgrade != "":
			return "a downgrade to " + e.Downgrade + " is on"
		}
	}
	return ""
}

func (f *forecast) eachServing(do func(*Endpoint)) {
	for i := range f.ms {
		if e := &f.ms[i].Client; e.Reach == ReachServing && e.ClusterID == f.cid {
			do(e)
		}
	}
	for i := range f.obs.Others {
		if f.obs.Others[i].Client.Reach == ReachServing {
			do(&f.ofOthers()[i].Client)
		}
	}
}

func (f *forecast) downgrade(a Downgrade) error {
	if f.cid == "" {
		return fmt.Errorf("no downgrade without a quorum")
	}
	want, why := minor(a.Version), ""
	f.eachServing(func(e *Endpoint) {
		switch n := minor(e.Version); {
		case n < 6 && n != want:
			why = fmt.Sprintf("etcd %s knows no downgrade", e.Version)
		case n != want && n != want+1:
			why = fmt.Sprintf("etcd %s does not go back to %s", e.Version, a.Version)
		case e.Downgrade != "" && minor(e.Downgrade) != want:
			why = "one to " + e.Downgrade + " is on"
		}
	})
	if why != "" {
		return fmt.Errorf("no downgrade to %s: %s", a.Version, why)
	}
	f.version = a.Version + ".0"
	f.eachServing(func(e *Endpoint) {
		e.ClusterVersion = f.version
		if storageOf(e.Version) != "" {
			e.Downgrade, e.StorageVersion = f.version, f.version
		}
	})
	return nil
}

func (f *forecast) cancelDowngrade(CancelDowngrade) error {
	if f.cid == "" {
		return fmt.Errorf("nothing is called off without a quorum")
	}
	f.eachServing(func(e *Endpoint) { e.Downgrade = "" })
	return nil
}

func (h held) downgrade(a Downgrade) string {
	for _, name := range a.Members {
		o := h.at(name)
		if o == nil || o.Client.Reach != ReachServing {
			return name + " does not serve"
		}
		switch e := &o.Client; {
		case minor(e.ClusterVersion) != minor(a.Version):
			return fmt.Sprintf("%s says that the cluster is at %s, not at %s", name, orWord(e.ClusterVersion, "no version that is known"), a.Version)
		case minor(e.Version) == minor(a.Version): // it runs that already, and does not tell
		case minor(e.Downgrade) != minor(a.Version):
			return "no downgrade to " + a.Version + " is on"
		case minor(e.StorageVersion) != minor(a.Version):
			return fmt.Sprintf("%s's database is still of %s", name, strings.TrimSuffix(orWord(e.StorageVersion, "a version that is not known"), ".0"))
		}
	}
	return ""
}

func (h held) cancelDowngrade(a CancelDowngrade) string {
	for _, name := range a.Members {
		o := h.at(name)
		if o == nil || o.Client.Reach != ReachServing {
			return name + " does not serve"
		}
		if o.Client.Downgrade != "" {
			return "a downgrade to " + o.Client.Downgrade + " is on"
		}
	}
	return ""
}

// writesOld reports whether a server puts entries into the log that 3.7 can't read: each
// says at its start who it is in the format of the v2 store.
func writesOld(version string) bool { n := minor(version); return n >= 0 && n <= 5 }

func (f *forecast) trimLog(a TrimLog) error {
	if f.cid == "" {
		return fmt.Errorf("nothing is put into the log without a quorum")
	}
	for _, p := range a.Members {
		o, d, err := f.place(p.Name)
		switch {
		case err != nil:
			return err
		case o.Client.Reach != ReachServing:
			return fmt.Errorf("%s does not serve: it makes no snapshot", p.Name)
		case d.State == DirPresent:
			d.OldEntry = 0
		}
	}
	return nil
}

func (h held) trimLog(a TrimLog) string {
	for _, p := range a.Members {
		d, why := h.data(p.Name)
		switch {
		case why != "":
			return why
		case d.OldEntry > 0:
			return fmt.Sprintf("%s's log has entry #%d after its last snapshot, in the format of etcd 3.5", p.Name, d.OldEntry)
		}
	}
	return ""
}
