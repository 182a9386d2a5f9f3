package planner

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The actions on members' processes.

// claimedBy refuses a place that another cluster's file has its service on.
func (o *MemberObservation) claimedBy(name, cluster string) error {
	if have := o.Service.Value.Cluster; o.Service.Known() && have != "" && cluster != "" && have != cluster {
		return fmt.Errorf("%s: its service was installed for cluster %s, not for %s", name, have, cluster)
	}
	return nil
}

func (f *forecast) index(name string) int {
	i, _ := slices.BinarySearch(f.names, name)
	return i
}

func (f *forecast) start(a Start) error {
	for _, m := range a.Members {
		if o := f.at(m.Name); o != nil {
			if err := o.claimedBy(m.Name, m.Cluster); err != nil {
				return err
			}
		}
	}
	for i := range a.Members {
		if err := f.launch(&a.Members[i]); err != nil {
			return err
		}
	}
	f.settle()
	return nil
}

// launch has a member's process running, mute for the time being.
func (f *forecast) launch(m *StartMember) error {
	o, d, err := f.place(m.Name)
	if err != nil {
		return err
	}
	p := d.Provenance
	switch {
	case o.runs():
		return fmt.Errorf("%s is not started: it runs", m.Name)
	case d.State == DirFenced && !m.Bootstrap:
		return fmt.Errorf("%s is not started: it is fenced", m.Name)
	case d.State == DirNotDir:
		return fmt.Errorf("%s is not started: its data_dir is no directory", m.Name)
	case o.Service.Value.Unit != nil && o.Service.Value.Unit.Undone != "":
		return fmt.Errorf("%s is not started: %s", m.Name, o.Service.Value.Unit.Undone)
	case len(o.PortsTaken) > 0:
		return fmt.Errorf("%s is not started: its address is in use (%s)", m.Name, strings.Join(o.PortsTaken, ", "))
	case !o.Binary.Known():
		return fmt.Errorf("%s is not started: there is no etcd to start: %s", m.Name, o.Binary.Why)
	case d.State == DirPresent && (d.ClusterID != m.ClusterID || d.MemberID != m.MemberID):
		return fmt.Errorf("%s is not started: its directory holds member %s of cluster %s, not %s of %s", m.Name, d.MemberID, d.ClusterID, m.MemberID, m.ClusterID)
	case d.State == DirPresent && d.Problem != "":
		return fmt.Errorf("%s is not started: %s", m.Name, d.Problem)
	case d.State != DirPresent && !m.Bootstrap:
		return fmt.Errorf("%s is not started: it has no data directory", m.Name)
	case d.State != DirPresent && (p == nil || p.ClusterID != m.ClusterID || p.MemberID != m.MemberID):
		return fmt.Errorf("%s is not started: its new identity was not recorded first", m.Name)
	case d.State != DirPresent && d.EverRan:
		return fmt.Errorf("%s is not started: it ran under this identity before, and its data is gone", m.Name)
	}
	if ok, why := startsFromDir(*d, o.Binary.Value.Version); d.State == DirPresent && !ok {
		return fmt.Errorf("%s is not started: %s", m.Name, why)
	}
	list := d.Members
	if d.State != DirPresent {
		list = f.firstStart(d, m)
	}
	pid := pidOf(d.Path)
	log := ""
	if o.Base != "" {
		log = o.Base + "/etcd.log"
	}
	unit := o.Service.Value.Unit
	if unit != nil {
		log = "journalctl --unit=" + unit.Name
	}
	o.Service = Known(Service{
		State: ServiceRunning, PID: pid, SupervisorPID: pid + 1, UpSeconds: 1, Binary: orWord(m.Binary, "requorum"),
		Args: m.Args, Cluster: m.Cluster, Carried: m.Carried, Log: log, Unit: unit.started(m),
	})
	if Closed(m.Args) { // its clients find nobody, whatever becomes of it
		o.Client = Endpoint{URL: o.Client.URL, Reach: ReachRefused, Linearizable: Unknown[bool](string(ReachRefused)), Members: Unknown[[]ListedMember](string(ReachRefused))}
	} else {
		o.Client = Endpoint{URL: m.ClientURL, Reach: ReachHangs, Linearizable: Unknown[bool](string(ReachHangs)), Members: Unknown[[]ListedMember](string(ReachHangs))}
	}
	d.HeldBy, d.EverRan = pid, true
	o.Certificates = reread(o.Certificates)
	if listen := argValue(m.Args, "listen-peer-urls"); o.Peer.URL != "" && (listensAt(strings.Split(listen, ","), []string{o.Peer.URL}) ||
		listensAt(strings.Split(argValue(m.Args, "initial-advertise-peer-urls"), ","), []string{o.Peer.URL})) {
		o.Peer = PeerEndpoint{URL: o.Peer.URL, Reach: ReachServing, ClusterID: m.ClusterID, Members: Known(list)}
		// Of a database that is open nothing is read.
		d.Members, d.Revision, d.ConsistentIndex, d.StorageVersion, d.ClusterVersion, d.Removed = nil, max(d.Revision, 0), 0, "", "", nil
	} else {
		d.Members = list
	}
	f.fresh[f.index(m.Name)] = true
	return nil
}

// reread are the certificates where a process has just read its CAs.
func reread(seen map[string]Fact[Certificate]) map[string]Fact[Certificate] {
	out := maps.Clone(seen)
	for kind, f := range out {
		if f.Known() {
			f.Value.OldCA = Known("")
			out[kind] = f
		}
	}
	return out
}

// firstStart is a member's first start, on nothing. It gives the list that it begins
// with.
func (f *forecast) firstStart(d *DataDir, m *StartMember) []ListedMember {
	var list []ListedMember
	n := 0
	joins := f.cid == m.ClusterID
	var log *Log
	switch {
	case joins: // it copies all of it
		list = f.list
	case d.Provenance.Kind == ProvenanceJoin:
		list = f.anyList(f.runners(), m.ClusterID)
	default:
		list = initialList(d.Provenance.InitialCluster, d.Provenance.Token)
		for i := range list {
			list[i].ClientURLs = nil
		}
		n = len(list)
		log = logOf(m.ClusterID, n)
	}
	term := uint64(0)
	if n > 0 {
		term = 1
	}
	*d = DataDir{
		Path: d.Path, State: DirPresent, ClusterID: m.ClusterID, MemberID: m.MemberID, LastTerm: term, LastIndex: uint64(n), Commit: uint64(n), Log: log,
		Provenance: d.Provenance, ProvenanceAgrees: true, Staged: d.Staged,
	}
	return list
}

func (f *forecast) stop(a Stop) error {
	for _, m := range a.Members {
		if o := f.at(m.Name); o != nil {
			if err := o.claimedBy(m.Name, a.Cluster); err != nil {
				return err
			}
		}
	}
	for _, m := range a.Members {
		o := f.at(m.Name)
		if o == nil {
			f.stopOther(m)
			continue
		}
		s := &o.Service.Value
		switch x := s.Foreign; {
		case !o.Service.Known():
			return fmt.Errorf("%s is not stopped: whether it runs is not known: %s", m.Name, o.Service.Why)
		case x != nil && m.PID == 0 && s.State != ServiceRunning: // somebody else's, and not named
			continue
		case x != nil && m.PID != 0 && (x.PID != m.PID || x.Start != m.Start):
			return fmt.Errorf("%s is not stopped: process %d runs there, not %d", m.Name, x.PID, m.PID)
		case x != nil && x.Keeper != "" && m.PID != 0:
			return fmt.Errorf("%s is not stopped: %s would start it again", m.Name, x.Keeper)
		}
		if o.runs() || o.tries() {
			f.ended(o, ServiceStopped, "")
		}
	}
	f.settle()
	return nil
}

// stopOther stops the service of a member that the file has no more.
func (f *forecast) stopOther(m StopMember) {
	for i := range f.obs.Others {
		if f.obs.Others[i].Name == m.Name {
			o := &f.ofOthers()[i]
			o.Client = Endpoint{URL: o.Client.URL, Reach: ReachRefused}
			o.Peer = PeerEndpoint{URL: o.Peer.URL, Reach: ReachRefused}
		}
	}
	for i := range f.obs.Etcds {
		if x := &f.obs.Etcds[i]; x.on(m.DataDir) && x.Host == m.Host {
			f.forget(x.Host, x.PID)
			return
		}
	}
}

// on reports whether the process has the data directory.
func (x *Foreign) on(dataDir string) bool {
	return x.Settings["data-dir"] == dataDir || argValue(x.Args, "data-dir") == dataDir
}

func (f *forecast) adopt(a Adopt) error {
	for i := range a.Members {
		m := &a.Members[i]
		o := f.at(m.Name)
		switch {
		case o == nil || !o.Service.Known():
			return fmt.Errorf("%s is not adopted: whether it runs is not known", m.Name)
		case o.claimedBy(m.Name, m.Cluster) != nil:
			return o.claimedBy(m.Name, m.Cluster)
		}
		s := &o.Service.Value
		if m.Unit != "" && s.Unit != nil {
			if s.State != ServiceRunning {
				return fmt.Errorf("%s has ended: what its unit starts next is for a step that starts it", m.Name)
			}
			was := s.Unit.Enabled
			s.Unit = s.Unit.started(&m.StartMember)
			s.Unit.Enabled, s.Unit.Next, s.Carried = was, m.Args, m.Carried
			continue
		}
		if m.PID == 0 {
			if s.State != ServiceRunning {
				return fmt.Errorf("%s is not adopted: no etcd that requorum started runs there", m.Name)
			}
			if s.SupervisorPID == 0 {
				s.SupervisorPID = s.PID + 1
			}
			continue
		}
		x := s.Foreign
		switch {
		case x == nil && s.State == ServiceRunning && s.PID == m.PID && s.SupervisorPID != 0:
			continue
		case x == nil || x.PID != m.PID || x.Start != m.Start:
			return fmt.Errorf("%s is not adopted: process %d has ended", m.Name, m.PID)
		case x.Problem != "":
			return fmt.Errorf("%s is not adopted: %s", m.Name, x.Problem)
		case x.Keeper != "":
			return fmt.Errorf("%s is not adopted: it is kept by %s", m.Name, x.Keeper)
		case x.Settings["force-new-cluster"] == "true":
			return fmt.Errorf("%s is not adopted: it runs with --force-new-cluster", m.Name)
		}
		if d := &o.Data.Value; o.Data.Known() && (d.ClusterID != m.ClusterID || d.MemberID != m.MemberID) {
			return fmt.Errorf("%s is not adopted: its directory holds member %s of cluster %s", m.Name, d.MemberID, d.ClusterID)
		}
		args := make([]string, 0, len(x.Settings))
		for name, value := range x.Settings {
			args = append(args, "--"+name+"="+value)
		}
		slices.Sort(args)
		*s = Service{
			State: ServiceRunning, PID: x.PID, SupervisorPID: x.PID + 1, UpSeconds: s.UpSeconds, Binary: orWord(m.Binary, "requorum"),
			Args: args, Cluster: m.Cluster, Carried: m.Carried, Log: s.Log, Signs: s.Signs,
		}
	}
	return nil
}

func (f *forecast) save(a Save) error {
	for i := range f.ms {
		e := &f.ms[i].Client
		if e.Reach == ReachServing && e.URL == a.ClientURL {
			if e.ClusterID != a.ClusterID || e.MemberID != a.MemberID {
				return fmt.Errorf("nothing is saved: member %s of cluster %s answers at %s", e.MemberID, e.ClusterID, a.ClientURL)
			}
			return nil
		}
	}
	return fmt.Errorf("nothing is saved: %s does not serve", a.Name)
}

// verify waits for members that have only just been started.
func (f *forecast) verify(a Verify) error {
	if a.Closed != nil {
		if why := verifiedClosed(a, f.at); why != "" {
			return fmt.Errorf("not verified: %s", why)
		}
		return nil
	}
	for _, name := range a.Members {
		if o := f.at(name); o != nil && o.Client.Reach != ReachServing && o.runs() {
			f.settle()
			break
		}
	}
	if why := verified(a, f.at, &f.obs); why != "" {
		return fmt.Errorf("not verified: %s", why)
	}
	if !a.Disarm {
		return nil
	}
	for _, name := range a.Members {
		e := &f.at(name).Client
		if slices.ContainsFunc(e.Alarms, func(alarm string) bool { return stray(alarm, f.list) }) {
			e.Alarms = slices.DeleteFunc(slices.Clone(e.Alarms), func(alarm string) bool { return stray(alarm, f.list) })
		}
	}
	return nil
}

// stray reports whether an alarm is of a member that is not listed: it came with a
// snapshot.
func stray(alarm string, list []ListedMember) bool {
	_, id, ok := strings.Cut(alarm, " on ")
	return ok && list != nil && entryOf(list, id) == nil
}

// verifiedClosed says what of a Verify of members with closed client listeners is not
// so, as far as it can be seen from where their clients are.
func verifiedClosed(a Verify, at func(string) *MemberObservation) string {
	for _, name := range a.Members {
		o := at(name)
		switch {
		case o == nil:
			return name + " was not looked at"
		case !o.Service.Known() || o.Service.Value.State != ServiceRunning:
			return name + " does not run"
		case !Closed(o.Service.Value.Args):
			return name + " serves clients already"
		case o.Peer.Reach == ReachServing && o.Peer.ClusterID != a.ClusterID:
			return fmt.Sprintf("%s is a member of cluster %s, not of %s", name, o.Peer.ClusterID, a.ClusterID)
		}
	}
	return ""
}

// verified says what of a Verify is not so.
func verified(a Verify, at func(string) *MemberObservation, obs *Observation) string {
	leader := ""
	for _, name := range a.Members {
		o := at(name)
		if o == nil {
			return name + " was not looked at"
		}
		switch e := &o.Client; {
		case e.Reach != ReachServing:
			return fmt.Sprintf("%s does not serve: %s", name, e.Reach)
		case a.ClusterID != "" && e.ClusterID != a.ClusterID:
			return fmt.Sprintf("%s serves cluster %s, not %s", name, e.ClusterID, a.ClusterID)
		case e.LeaderID == "" || leader != "" && e.LeaderID != leader:
			return name + " has no leader in common with the others"
		case !e.Learner && !(e.Linearizable.Known() && e.Linearizable.Value):
			return name + " has no quorum"
		default:
			leader = e.LeaderID
		}
	}
	kv, first := &obs.KV, ""
	for _, name := range a.Members { // those that vote are compared, with each other
		h, ok := kv.Value.Hashes[name]
		switch {
		case !kv.Known() || kv.Value.Equal || !ok || at(name).Client.Learner:
		case first == "":
			first = name
		case kv.Value.Hashes[first] != h:
			return fmt.Sprintf("the members hold different data at revision %d", kv.Value.Revision)
		}
	}
	return ""
}
