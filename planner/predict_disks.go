package planner

import (
	"fmt"
	"strings"
)

// The actions that change what lies at the members' places.

func (f *forecast) claim(a Claim) error {
	for _, m := range a.Members {
		o, d, err := f.place(m.Name)
		if err != nil {
			return err
		}
		switch own := (Identity{ClusterID: m.Provenance.ClusterID, MemberID: m.Provenance.MemberID}); {
		case o.runs() || o.tries():
			return fmt.Errorf("%s is not claimed: a process is at work on it", m.Name)
		case d.State == DirNotDir, !d.vacant() && d.holds() != own:
			return fmt.Errorf("%s is not claimed: data lies there (cluster %q, member %q)", m.Name, d.ClusterID, d.MemberID)
		case d.Leftovers:
			return fmt.Errorf("%s is not claimed: an etcd left something there", m.Name)
		}
		if d.vacant() {
			o.Service.Value.Unit = o.Service.Value.Unit.barred()
		}
		if err := d.record(m.Name, m.Provenance); err != nil {
			return err
		}
	}
	return nil
}

// record writes the provenance. That etcd ran under an earlier one is said by a
// marker that moves aside.
func (d *DataDir) record(name string, p Provenance) error {
	if old := d.Provenance; old != nil && old.Token == p.Token {
		if old.ClusterID != p.ClusterID || old.MemberID != p.MemberID {
			return fmt.Errorf("%s: token %s was used before for member %s of cluster %s", name, p.Token, old.MemberID, old.ClusterID)
		}
		d.settleProvenance()
		return nil
	}
	d.Provenance = &p
	if d.EverRan {
		d.EverRan = false
		if d.State != DirPresent {
			d.Evidence = []string{"requorum started an earlier member here"}
		}
	}
	d.settleProvenance()
	return nil
}

// installed reports whether the directory is the one that the provenance leads to.
func (d *DataDir) installed(p *Provenance) bool {
	return d.State == DirPresent && d.ClusterID == p.ClusterID && d.MemberID == p.MemberID && d.Staged != p.Token &&
		(p.Kind != ProvenanceForceNew || d.Provenance != nil && d.Provenance.Token == p.Token)
}

func (f *forecast) restore(a Restore) error {
	if !a.Recovered {
		switch s := f.obs.Snapshot; {
		case s == nil:
			return fmt.Errorf("nothing is restored: the snapshot was not looked at")
		case s.Problem != "":
			return fmt.Errorf("nothing is restored: the snapshot can't be used: %s", s.Detail)
		case a.SHA256 != "" && s.SHA256 != a.SHA256:
			return fmt.Errorf("nothing is restored: the snapshot is another one by now")
		}
	}
	for _, m := range a.Members {
		o, d, err := f.place(m.Name)
		if err != nil {
			return err
		}
		if d.vacant() && !o.runs() && !o.tries() {
			o.Service.Value.Unit = o.Service.Value.Unit.barred()
		}
		p := m.Provenance
		switch {
		case p.Token == "":
			return fmt.Errorf("%s: the restore has no token", m.Name)
		case d.Staged != p.Token && d.installed(&p):
			continue
		case a.Recovered:
			p.Revision = f.recoveredRevision(a.Snapshot)
		}
		if err := d.record(m.Name, p); err != nil {
			return err
		}
		d.Staged = p.Token
		d.settleProvenance()
	}
	return nil
}

// recoveredRevision is the best guess at what a survivor's snapshot has: a Recover
// names the file after the member.
func (f *forecast) recoveredRevision(path string) int64 {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if s := f.obs.Snapshot; s != nil && s.Dir != nil && strings.HasPrefix(name, s.Dir.MemberID+"-") {
		return s.Dir.Revision
	}
	for i := range f.ms {
		if d := f.ms[i].Data.Value.Fenced; d != nil && d.MemberID != "" && strings.HasPrefix(name, d.MemberID+"-") {
			return d.Revision
		}
	}
	return 0
}

func (f *forecast) trial(a Trial) error {
	o, d, err := f.place(a.Name)
	switch {
	case err != nil:
		return err
	case d.Staged != a.Token || a.Token == "":
		return fmt.Errorf("%s: nothing is staged under token %s to be tried", a.Name, a.Token)
	case !o.etcd(a.Binary).Known():
		return fmt.Errorf("%s: there is no etcd to try it with: %s", a.Name, o.etcd(a.Binary).Why)
	}
	return nil
}

func (f *forecast) install(a Install) error {
	for _, m := range a.Members {
		o, d, err := f.place(m.Name)
		if err != nil {
			return err
		}
		p := d.Provenance
		switch {
		case p == nil || p.Token != a.Token:
			return fmt.Errorf("%s: its record is not of token %s", m.Name, a.Token)
		case d.Staged != a.Token && d.installed(p):
			continue
		case d.Staged != a.Token:
			return fmt.Errorf("%s: nothing is staged under token %s", m.Name, a.Token)
		case o.runs() || o.tries():
			return fmt.Errorf("%s: its process is to be stopped first", m.Name)
		case d.State == DirPresent && d.holds() != (Identity{ClusterID: p.ClusterID, MemberID: p.MemberID}) && (d.holds() != m.Over || m.Over == Identity{}):
			return fmt.Errorf("%s holds data that the plan did not see there (cluster %q, member %q)", m.Name, d.ClusterID, d.MemberID)
		}
		o.Service.Value.Unit = o.Service.Value.Unit.barred()
		*d = f.stagedDir(d, p)
		f.unhash(m.Name)
	}
	f.pruneOthers()
	return nil
}

// stagedDir is a directory as it was staged, in its place.
func (f *forecast) stagedDir(d *DataDir, p *Provenance) DataDir {
	out := DataDir{
		Path: d.Path, State: DirPresent, ClusterID: p.ClusterID, MemberID: p.MemberID,
		Provenance: p, ProvenanceAgrees: true, EverRan: d.EverRan, Revision: p.Revision + p.RevisionBump,
	}
	if from := d.Fenced; p.Kind == ProvenanceForceNew && from != nil {
		out.LastTerm, out.LastIndex = from.LastTerm+1, from.LastIndex+2
		out.StorageVersion, out.ClusterVersion, out.DBSize, out.Log = from.StorageVersion, from.ClusterVersion, from.DBSize, from.Log
		out.Members = []ListedMember{{ID: p.MemberID, Name: p.Name}}
		if l := entryOf(from.Members, p.MemberID); l != nil {
			out.Members[0] = *l
			out.Members[0].Learner = false
		}
	} else {
		out.Members = initialList(p.InitialCluster, p.Token)
		out.LastTerm, out.LastIndex = 1, uint64(len(out.Members))
		out.Log = logOf(p.ClusterID, len(out.Members))
		if s := f.obs.Snapshot; p.Kind == ProvenanceRestore && s != nil && s.SHA256 == p.SHA256 {
			out.StorageVersion, out.DBSize = s.Version, s.Size
		}
	}
	out.Commit, out.ConsistentIndex = out.LastIndex, out.LastIndex
	return out
}

// setAside leaves a fence with the data behind it, as Fence does, so that nothing
// starts on the path by an old command.
func (f *forecast) setAside(a SetAside) error {
	o, d, err := f.place(a.Name)
	if err != nil {
		return err
	}
	if d.vacant() && d.State != DirFenced && !d.Leftovers {
		return nil
	}
	there := d.holds()
	known := there == a.Over && a.Over != Identity{}
	switch {
	case d.State == DirNotDir:
		return fmt.Errorf("%s: what lies there is not moved aside: it is no directory", a.Name)
	case o.runs() || o.tries():
		return fmt.Errorf("%s: not moved aside: a process is at work on it", a.Name)
	case !known && (there != Identity{} || a.Over != Identity{} || a.Problem == ""):
		return fmt.Errorf("%s: not moved aside: it holds data that the plan did not see there (cluster %q, member %q)", a.Name, there.ClusterID, there.MemberID)
	case f.cid != "" && there.ClusterID == f.cid && entryOf(f.list, there.MemberID) != nil:
		return fmt.Errorf("%s: not moved aside: member %s is still listed", a.Name, there.MemberID)
	}
	o.Service.Value.Unit = o.Service.Value.Unit.barred()
	switch d.State {
	case DirPresent:
		d.putFence()
		f.unhash(a.Name)
	case DirAbsent, DirEmpty:
		if d.Leftovers {
			d.putFence()
			break
		}
		// a log of its own, without its data
		d.ClusterID, d.MemberID, d.Log, d.Problem, d.LastTerm, d.LastIndex, d.Commit = "", "", nil, "", 0, 0, 0
		d.Evidence = []string{"data was moved aside from here"}
	}
	d.settleProvenance()
	return nil
}

// putFence has what lies at the place behind a fence.
func (d *DataDir) putFence() {
	behind := *d
	behind.Path = d.Path + ".requorum/aside"
	behind.Provenance, behind.ProvenanceAgrees, behind.EverRan, behind.Staged, behind.HeldBy = nil, false, false, "", 0
	*d = DataDir{
		Path: d.Path, State: DirFenced, Fenced: &behind, Provenance: d.Provenance, EverRan: d.EverRan, Staged: d.Staged,
		Evidence: []string{"data was moved aside from here"},
	}
}

func (f *forecast) fence(a Fence) error {
	for _, m := range a.Members {
		o, d, err := f.place(m.Name)
		if err != nil {
			return err
		}
		if err := o.claimedBy(m.Name, a.Cluster); err != nil {
			return err
		}
		switch s := o.Service.Value; {
		case d.holds() != m.Over || m.Over == Identity{}:
			return fmt.Errorf("%s is not fenced: it holds data that the plan did not see there (cluster %q, member %q)", m.Name, d.holds().ClusterID, d.holds().MemberID)
		case d.State != DirPresent && d.State != DirFenced:
			return fmt.Errorf("%s is not fenced: there is no directory", m.Name)
		case s.Foreign != nil && s.Foreign.Keeper != "":
			return fmt.Errorf("%s is not fenced: %s would start it again", m.Name, s.Foreign.Keeper)
		}
	}
	for _, p := range a.Vacant {
		o, d, err := f.place(p.Name)
		if err != nil {
			return err
		}
		if d.State == DirPresent {
			return fmt.Errorf("%s is not barred: it holds data that the plan did not see there", p.Name)
		}
		if o.runs() || o.tries() {
			f.ended(o, ServiceStopped, "")
		}
		o.Service.Value.Unit = o.Service.Value.Unit.barred()
	}
	for _, m := range a.Members {
		o := f.at(m.Name)
		if o.runs() || o.tries() {
			f.ended(o, ServiceStopped, "")
		}
		o.Service.Value.Unit = o.Service.Value.Unit.barred()
		if d := &o.Data.Value; d.State == DirPresent {
			d.putFence()
			f.unhash(m.Name)
		}
	}
	f.settle()
	return nil
}

func (f *forecast) unfence(a Unfence) error {
	for _, m := range a.Members {
		o, d, err := f.place(m.Name)
		if err != nil {
			return err
		}
		switch {
		case d.holds() != m.Over || m.Over == Identity{}:
			return fmt.Errorf("%s is not put back: its fence has other data behind it than the plan saw (cluster %q, member %q)", m.Name, d.holds().ClusterID, d.holds().MemberID)
		case d.State == DirPresent:
			continue
		case d.State != DirFenced || d.Fenced == nil:
			return fmt.Errorf("%s is not put back: there is no fence", m.Name)
		}
		back := *d.Fenced
		back.Path, back.EverRan, back.Staged, back.HeldBy = d.Path, d.EverRan, d.Staged, 0
		// The record of what was to come in its place goes; the one of before is not
		// seen behind a fence.
		if p := d.Provenance; p != nil && p.ClusterID == back.ClusterID && p.MemberID == back.MemberID && p.Kind != ProvenanceForceNew {
			back.Provenance = p
		}
		back.settleProvenance()
		o.Data.Value = back
		if s := &o.Service.Value; s.State == ServiceFailed && strings.HasPrefix(s.LastError, "fenced: ") {
			s.State, s.LastError = ServiceStopped, ""
		}
	}
	return nil
}

func (f *forecast) recover(a Recover) error {
	_, d, err := f.place(a.Name)
	if err != nil {
		return err
	}
	if a.From != nil {
		return f.recoverFrom(a)
	}
	if p := a.InPlace; p != nil && d.Provenance != nil && d.Provenance.Token == p.Token && (d.Staged == p.Token || d.installed(p)) {
		return nil
	}
	switch {
	case d.State != DirFenced || d.Fenced == nil:
		return fmt.Errorf("%s is not fenced: a survivor is copied only when nothing can write to it any more", a.Name)
	case d.holds() != Identity{ClusterID: a.ClusterID, MemberID: a.MemberID}:
		return fmt.Errorf("%s: behind the fence is another member (%s of cluster %s)", a.Name, d.Fenced.MemberID, d.Fenced.ClusterID)
	case d.Fenced.Problem != "":
		return fmt.Errorf("%s can't be recovered from: %s", a.Name, d.Fenced.Problem)
	case d.Fenced.LastTerm < a.LastTerm || d.Fenced.LastTerm == a.LastTerm && d.Fenced.LastIndex < a.LastIndex || a.Upto > a.LastIndex:
		return fmt.Errorf("%s: its log ends at term %d #%d, and the plan saw it to term %d #%d", a.Name, d.Fenced.LastTerm, d.Fenced.LastIndex, a.LastTerm, a.LastIndex)
	}
	if a.InPlace == nil {
		return nil
	}
	if err := d.record(a.Name, *a.InPlace); err != nil {
		return err
	}
	d.Staged = a.InPlace.Token
	return nil
}

// recoverFrom is for a directory that is at no member's place: nothing there, or at
// any place, changes.
func (f *forecast) recoverFrom(a Recover) error {
	s := f.obs.Snapshot
	switch {
	case s == nil || s.Dir == nil || s.Dir.Path != a.From.DataDir:
		return fmt.Errorf("nothing is recovered: %s was not looked at", a.From.DataDir)
	case s.Problem != "":
		return fmt.Errorf("nothing is recovered: %s", s.Detail)
	case s.Dir.ClusterID != a.ClusterID || s.Dir.MemberID != a.MemberID || s.Dir.LastTerm != a.LastTerm || s.Dir.LastIndex != a.LastIndex || a.Upto > a.LastIndex:
		return fmt.Errorf("%s is not what the plan saw", a.From.DataDir)
	}
	return nil
}
