package planner

import (
	"fmt"

	"github.com/requorum/requorum/spec"
)

// serverMinors are the minors of etcd 3 whose behaviour on snapshots is known.
var serverMinors = []string{"3.4", "3.5", "3.6", "3.7"}

// SnapshotServers lists the minors of etcd 3, "3.4" first, whose last release starts
// from data restored from a snapshot of this storage version ("" is 3.5 or older). Where no
// storage version is written yet, as in etcd's first seconds, the cluster version
// says more.
func SnapshotServers(storage, cluster string) []string {
	if storage == "" && minor(cluster) > 5 {
		storage = cluster
	}
	var out []string
	for _, m := range serverMinors {
		if ok, _ := startsFromSnapshot(storage, m+".999"); ok {
			out = append(out, m)
		}
	}
	return out
}

// RefuseServer is the refusal where an etcd of version server can't start from a
// snapshot of this storage version, nil where it can.
func RefuseServer(storage, server string) *Refusal {
	ok, why := startsFromSnapshot(storage, server)
	if ok {
		return nil
	}
	return RefuseFile(CodeSnapshotVersion, why+".")
}

// RefuseFile is the refusal of a snapshot file that somebody named on a command
// line: there is no file of a cluster whose lines could be corrected.
func RefuseFile(code Code, detail string) *Refusal {
	title, remedy := "the snapshot can't be used", []string{"Use another snapshot: this one is not what etcd wrote."}
	switch code {
	case CodeSnapshotMissing:
		title, remedy = "there is no such snapshot", []string{"Correct the name."}
	case CodeSnapshotUnreadable:
		title, remedy = "the snapshot can't be read", []string{"See that it can be reached and read by this user, and that nothing writes it; then try again."}
	case CodeSnapshotDamaged:
		title = "the snapshot is damaged"
		remedy = []string{"Nothing can be restored from this file. Where a member still runs, requorum snapshot save saves another."}
	case CodeSnapshotNoHash:
		title = "the snapshot has no hash"
		remedy = []string{
			"If it is a member/snap/db copied from a stopped member, say so: --skip-hash-check.",
			"A file from `etcdctl snapshot save` has a hash; without one it was cut short.",
		}
	case CodeSnapshotNotEtcd:
		title, remedy = "this is no snapshot of etcd", []string{"Name the file that `requorum snapshot save` or `etcdctl snapshot save` wrote."}
	case CodeSnapshotWrongSHA:
		title, remedy = "this is another snapshot than was expected", []string{"Fetch the snapshot again, or correct --sha256."}
	case CodeSnapshotVersion:
		title, remedy = "the etcd does not start from this snapshot", []string{"Name an etcd of that version or later with --binary."}
	case CodeSnapshotUnsupported:
		title, remedy = "nothing can be fetched from there", []string{"Fetch it to this machine and name its path."}
	case CodeDataHeld:
		title, remedy = "the file is in use", []string{"Save a snapshot from the member that runs: requorum snapshot save."}
	case CodeNoRoom:
		title, remedy = "there is no room", []string{"Make room, or name another folder."}
	case CodeBinaryMissing:
		title, remedy = "there is no etcd to start", []string{"Name an etcd with --binary, or leave it out: there is one inside requorum."}
	}
	return refusal(code, spec.Position{}, title, detail, remedy...)
}

// RefuseOpen is S12 for a directory that somebody named: the refusal where an etcd of
// version server must not open a copy of it, nil where it may.
func RefuseOpen(d DataDir, server string) *Refusal {
	have, want := minor(orWord(d.StorageVersion, d.ClusterVersion)), minor(server)
	if have <= 0 || have == want {
		return nil
	}
	r := RefuseFile(CodeBinaryVersion, fmt.Sprintf("%s was written by etcd 3.%d, and the etcd that would open its copy is %s: what it makes of it might not be readable by an etcd 3.%d.", d.Path, have, server, have))
	r.Title, r.Remedy = "the directory has to be opened by an etcd of its own minor version", []string{fmt.Sprintf("Name an etcd 3.%d with --binary.", have)}
	return r
}

// RefuseDir is the refusal of a data directory that somebody named to be read; nil
// for one that is intact and that nobody runs on.
func RefuseDir(path string, f Fact[DataDir]) *Refusal {
	var r *Refusal
	switch d := f.Value; {
	case !f.Known():
		r = RefuseFile(CodeDataUnknown, f.Why)
		r.Title, r.Remedy = "the data directory can't be read", []string{"Run requorum as root, or as the user that etcd ran as."}
	case d.State != DirPresent:
		r = RefuseFile(CodeSnapshotMissing, fmt.Sprintf("%s holds no member's data: it is %s.", path, d.State))
		r.Title, r.Remedy = "there is no data directory", []string{"Name the directory that etcd had as --data-dir, with member/ in it; if a disk is not mounted, mount it."}
	case d.HeldBy != 0:
		who := "a process that can't be named from here"
		if d.HeldBy > 0 {
			who = fmt.Sprintf("process %d", d.HeldBy)
		}
		r = RefuseFile(CodeDataHeld, fmt.Sprintf("%s has %s open.", who, path))
		r.Title, r.Remedy = "the data directory is in use", []string{"Save a snapshot from the member that runs: requorum snapshot save.", "Or stop it, and read its directory then."}
	case d.Problem != "":
		r = RefuseFile(CodeDataDamaged, fmt.Sprintf("%s: %s.", path, d.Problem))
		r.Title, r.Remedy = "the data directory is damaged", []string{"Keep it as it is: parts of it may be read by hand.", "Use another member's directory, or a snapshot."}
	}
	return r
}

// RefuseSave is the refusal where no snapshot can be saved from a live cluster.
func RefuseSave(code Code, detail string) *Refusal {
	title, remedy := "no member can be saved from", []string{"Look at the members: requorum status."}
	switch code {
	case CodeUnreachable:
		remedy = append(remedy, "Where members are stopped, their directories still have the data: requorum snapshot save --all saves what these hold, and requorum plan tells what can be recovered.")
	case CodeClusterIDChanged:
		title, remedy = "another cluster answers", []string{"Correct the client URLs, or id, in the file."}
	case CodeSplitCluster:
		title = "the members are of more than one cluster"
		remedy = []string{"Save each member's own with --all, or one with --member NAME, and decide which counts: requorum explain split-brain."}
	case CodeAuthRequired:
		title, remedy = "the log-in does not suffice", []string{"Give a user with the root role in auth { username, password }."}
	case CodeTLSFailed:
		title, remedy = "TLS fails", []string{"Correct tls { requorum { ca, cert, key } }."}
	}
	return refusal(code, spec.Position{}, title, detail, remedy...)
}
