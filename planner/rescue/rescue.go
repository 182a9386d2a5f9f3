// Package rescue makes the file that recovers a cluster out of what is left of it:
// the disks that were found, and what runs on them. It is for the night in which
// nobody has the file. It is pure, like the planner, and decides nothing about the
// data: the plan for the file does.
package rescue

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// Found is what was found on a machine.
type Found struct {
	Disks []Disk
	// Unseen are etcds that run and could not be looked into.
	Unseen []planner.Foreign
	// Addresses are the machine's own, as IP addresses.
	Addresses []string
}

// Disk is a data directory, or where one should be.
type Disk struct {
	DataDir, WALDir string // absolute; no WALDir for the one inside
	Data            planner.Fact[planner.DataDir]
	Service         planner.Fact[planner.Service]
	// Process is the etcd that runs on it without requorum; nil for none.
	Process *planner.Foreign
	// Peers is the member list as the running member has it; nil where it does not
	// run, or did not say.
	Peers []planner.ListedMember
	// Aside are directories that requorum moved out of this one's way.
	Aside []string
}

// File is the file and what is to be said about it.
type File struct {
	Cluster *spec.Cluster
	// Survivors are the disks that hold a log of the cluster, the one that goes
	// furthest first.
	Survivors []Survivor
	// Missing are members without a disk here. Those with a DataDir are in the
	// cluster all the same: their address is one of this machine.
	Missing []Missing
	// Left says what was found and is not in the file, and why.
	Left []string
	// Gaps are what the file does not say because nothing here told it.
	Gaps []string

	living bool   // Import made it
	from   string // of where
}

// Survivor is a disk of the cluster.
type Survivor struct {
	Name, DataDir string
	Last          string // the log's end, "term 4 #20931"
	Note          string // "runs", "behind requorum's fence", what is wrong with it
}

// Missing is a member of the list without a disk.
type Missing struct {
	planner.ListedMember
	DataDir string // where it would be; "" where nothing tells
	Known   bool   // DataDir is where requorum had it, and no guess

	why string // it has none, of a cluster that serves
}

// Settings are the flags that the member's etcd has or had, by name; nil where
// nothing tells them.
func (d Disk) Settings() map[string]string {
	if d.Process != nil && d.Process.Settings != nil {
		return d.Process.Settings
	}
	if !d.Service.Known() || len(d.Service.Value.Args) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, a := range d.Service.Value.Args {
		if name, value, ok := strings.Cut(strings.TrimLeft(a, "-"), "="); ok {
			out[name] = value
		}
	}
	return out
}

// dir is what the disk holds: its directory, or what lies behind the fence.
func (d Disk) dir() planner.DataDir {
	if v := d.Data.Value; v.State == planner.DirFenced && v.Fenced != nil {
		return *v.Fenced
	}
	return d.Data.Value
}

// ClusterID is the ID of the cluster that the disk is of, in hex; "" where it does
// not say.
func (d Disk) ClusterID() string { return d.dir().ClusterID }

// identified reports whether it is known whose the disk is.
func (d Disk) identified() bool {
	return d.Data.Known() && d.dir().ClusterID != "" && d.dir().MemberID != ""
}

// Members is the membership as this disk, or the member on it, has it.
func (d Disk) Members() []planner.ListedMember {
	if l := d.dir().Members; len(l) > 0 {
		return l
	}
	return d.Peers
}

// New makes the file, or says why there can be none.
func New(found Found) (*File, *planner.Refusal) {
	f := &File{}
	var disks, lost []Disk
	for _, d := range found.Disks {
		if d.identified() {
			disks = append(disks, d)
		} else {
			lost = append(lost, d)
			f.leave(d)
		}
	}
	for _, p := range found.Unseen {
		f.Left = append(f.Left, fmt.Sprintf("process %d (%s) runs and can't be looked into: %s", p.PID, p.Exe, or(p.Problem, "its data directory was not found")))
	}
	slices.SortStableFunc(disks, func(x, y Disk) int {
		switch {
		case planner.Newer(x.dir(), y.dir()):
			return -1
		case planner.Newer(y.dir(), x.dir()):
			return 1
		}
		return strings.Compare(x.DataDir, y.DataDir)
	})
	for _, check := range []func([]Disk) *planner.Refusal{f.checkAny, checkOneCluster, checkTwins} {
		if r := check(disks); r != nil {
			return f, r
		}
	}
	list, from := membership(disks)
	if list == nil {
		return f, &planner.Refusal{Code: planner.CodeDataUnknown, Title: "it is not known who is in the cluster",
			Detail: fmt.Sprintf("The member list of %s can't be read: %s.", disks[0].DataDir, or(disks[0].dir().Problem, "a process has it open, and does not answer")),
			Remedy: []string{"Stop the etcd that runs there, and keep its directory as it is: a stopped member's list is read from its disk. Then try again."}}
	}
	f.Cluster = &spec.Cluster{Name: clusterName(disks), ID: disks[0].dir().ClusterID}
	f.build(disks, lost, list, found.Addresses)
	if len(f.Survivors) == 0 {
		return f, &planner.Refusal{Code: planner.CodeDataUnknown, Title: "no disk of a member was found",
			Detail: fmt.Sprintf("%s is not of a member of the cluster as its own list has it.", from.DataDir),
			Remedy: []string{"Look for the disks of " + names(list) + ", and name them with --data-dir.", "To recover from a removed member's disk all the same, write a file with one member on it, and recover { from = … }."}}
	}
	return f, nil
}

// leave notes a directory that can't be told whose it is.
func (f *File) leave(d Disk) {
	why := "holds nothing of etcd's"
	switch {
	case !d.Data.Known():
		why = "could not be read: " + d.Data.Why
	case d.dir().Problem != "":
		why = "can't be told whose it is: " + d.dir().Problem
	case d.Data.Value.State == planner.DirAbsent:
		why = "is not there"
	case d.Data.Value.State == planner.DirEmpty:
		why = "is empty"
	case d.Data.Value.State == planner.DirPresent:
		why = "can't be told whose it is"
	}
	if d.Data.Known() && len(d.Data.Value.Evidence) > 0 {
		why += "; " + strings.Join(d.Data.Value.Evidence, "; ")
	}
	f.Left = append(f.Left, d.DataDir+" "+why)
	f.leaveAside(d)
}

func (f *File) leaveAside(d Disk) {
	for _, a := range d.Aside {
		f.Left = append(f.Left, a+" was moved out of the way by requorum, and is not looked at")
	}
}

func (f *File) checkAny(disks []Disk) *planner.Refusal {
	if len(disks) > 0 {
		return nil
	}
	detail := "No etcd runs here, and no data directory was named that says whose it is."
	if len(f.Left) > 0 {
		detail = strings.Join(f.Left, ". ") + "."
	}
	return &planner.Refusal{Code: planner.CodeDataMissing, Title: "nothing was found to make a file of", Detail: detail,
		Remedy: []string{"Name the data directories, or a folder that has them: requorum rescue --data-dir /var/lib/etcd. Where the WAL lies in a directory of its own: --data-dir DIR,WAL_DIR.", "An unmounted disk looks like an empty folder: look at the mounts."}}
}

// checkOneCluster: what is of two clusters is never put into one file.
func checkOneCluster(disks []Disk) *planner.Refusal {
	var ids []string
	dirs := map[string][]string{}
	for _, d := range disks {
		id := d.dir().ClusterID
		if dirs[id] == nil {
			ids = append(ids, id)
		}
		dirs[id] = append(dirs[id], d.DataDir)
	}
	if len(ids) < 2 {
		return nil
	}
	slices.Sort(ids)
	var texts []string
	for _, id := range ids {
		slices.Sort(dirs[id])
		texts = append(texts, fmt.Sprintf("cluster %s: %s", id, strings.Join(dirs[id], ", ")))
	}
	remedy := []string{"Make a file for each: name the directories of one cluster with --data-dir, each on its own.", "Two that should be one cluster are two histories: keep all the disks; only a person can say which one counts."}
	for _, d := range disks {
		// It began a new identity, and some of the disks have it already.
		if p := d.Data.Value.Provenance; p != nil && dirs[p.ClusterID] != nil && d.ClusterID() != p.ClusterID {
			remedy = append([]string{fmt.Sprintf("A new identity (%s) was begun here and is not finished: the file that it was begun with finishes it. Its members were %s.", p.Kind, p.InitialCluster)}, remedy...)
			break
		}
	}
	return &planner.Refusal{Code: planner.CodeSplitCluster, Title: fmt.Sprintf("the disks are of %d clusters", len(ids)), Detail: strings.Join(texts, "; ") + ".",
		Remedy: remedy}
}

// checkTwins: of two disks of one member one is a copy, and both must never run.
func checkTwins(disks []Disk) *planner.Refusal {
	of := map[string]string{}
	for _, d := range disks {
		id := d.dir().MemberID
		if other, ok := of[id]; ok {
			return &planner.Refusal{Code: planner.CodeForeignData, Title: "two directories are of one member",
				Detail: fmt.Sprintf("%s and %s are both of member %s: one is a copy.", other, d.DataDir, id),
				Remedy: []string{"Keep both. Name the one to go on with, and the other members', with --data-dir, each on its own."}}
		}
		of[id] = d.DataDir
	}
	return nil
}

// membership is the list of the newest disk, and whose it is; nil where it can't be
// read, for an older list may have members that were removed.
func membership(disks []Disk) ([]planner.ListedMember, Disk) {
	return disks[0].Members(), disks[0]
}

// clusterName is the one that requorum knew the members by: it refuses to take them
// over for another.
func clusterName(disks []Disk) string {
	for _, d := range disks {
		if d.Service.Known() && d.Service.Value.Cluster != "" {
			return d.Service.Value.Cluster
		}
	}
	return "rescued"
}

func names(list []planner.ListedMember) string {
	var out []string
	for _, l := range list {
		out = append(out, nameOf(l))
	}
	return strings.Join(out, ", ")
}

func nameOf(l planner.ListedMember) string { return or(l.Name, "member "+l.ID) }

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
