package planner_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// The words of a member's line. Its state comes first: serves, down, hangs (runs and
// does not answer clients; peers reach it), starting, gone (its data was here and is
// not), erased (the same, and what requorum keeps beside it is), fresh (nothing was
// ever here), fenced, claimed, staged, restored (in place,
// never started), unreachable, or one of reaches for its client address. Then what
// differs from a member that is well.
var reaches = map[string]planner.Reach{
	"refused": planner.ReachRefused, "no-route": planner.ReachNoRoute, "no-answer": planner.ReachTimeout, "tls-failed": planner.ReachTLSFailed,
	"wrong-service": planner.ReachWrongService, "auth": planner.ReachAuth, "unknown-host": planner.ReachBadName, "not-asked": planner.ReachUnasked,
	"hangs": planner.ReachHangs, "serving": planner.ReachServing,
}

// entries are the checksums of the one history's log.
var entries = func() (out []uint32) {
	for i := range uint32(3000) {
		out = append(out, (i+1)*2654435761)
	}
	return out
}()

func minorOf(version string) string { return strings.Join(strings.Split(version, ".")[:2], ".") }

// entryOf is the member of the file as it is listed; by name, or by its address.
func (v *view) entryOf(m spec.Member) planner.ListedMember {
	for _, l := range v.list {
		if l.Name == m.Name || l.Name == "" && planner.SameURLs(l.PeerURLs, m.PeerURLs) {
			return l
		}
	}
	return v.entry(m.Name, nil)
}

// blank is a member of whom nothing is there.
func (v *view) blank(m spec.Member) planner.MemberObservation {
	return planner.MemberObservation{
		Client: planner.Endpoint{URL: m.ClientURLs[0], Reach: planner.ReachRefused}, Peer: planner.PeerEndpoint{URL: m.PeerURLs[0], Reach: planner.ReachRefused},
		Data:    planner.Known(planner.DataDir{Path: m.DataDir, State: planner.DirAbsent}),
		Service: planner.Known(planner.Service{State: planner.ServiceNone}), Binary: planner.Known(planner.Binary{Version: v.version}),
		FreeBytes: planner.Known(int64(50 << 30)), FileSystem: "disk-" + m.Name, Base: m.DataDir + ".requorum",
		Certificates: planner.GoodCertificates(m),
	}
}

// certificates: what lies on the member's host for its listeners; nothing is wrong with
// them without a word.
func (v *view) certificates(m spec.Member, o *planner.MemberObservation, _ *planner.DataDir, word, value string) (bool, error) {
	kind, rest, _ := strings.Cut(word, "-")
	f, ok := o.Certificates[kind]
	switch {
	case rest != "certificate" && rest != "ca" && word != "plain":
		return false, nil
	case word == "plain": // it runs without them
		secure := planner.TLSArgs(m.TLS)
		o.Service.Value.Args = slices.DeleteFunc(slices.Clone(o.Service.Value.Args), func(a string) bool { return slices.Contains(secure, a) })
		return true, nil
	case !ok:
		return true, fmt.Errorf("the file has no %s certificate", kind)
	case rest == "ca": // another one lies there since it started
		f.Value.OldCA = planner.Known(value)
	case value == "unknown":
		f = planner.Unknown[planner.Certificate]("permission denied")
	case value == "server": // its extended key usage
		f.Value.NoClient = "it may not be used by a client"
	default:
		f.Value.Problem, f.Value.Detail = planner.Code(value), "it is not what it should be"
	}
	o.Certificates = maps.Clone(o.Certificates)
	o.Certificates[kind] = f
	return true, nil
}

// dir is the directory of a member that has taken part in everything.
func (v *view) dir(m spec.Member) planner.DataDir {
	d := planner.DataDir{
		Path: m.DataDir, State: planner.DirPresent, ClusterID: v.cluster, MemberID: v.entryOf(m).ID, LastTerm: 3, LastIndex: 1200,
		Commit: 1200, ConsistentIndex: 1200, Revision: 1204, EverRan: true, Members: v.list, DBSize: 45056,
		ClusterVersion: minorOf(v.version) + ".0", StorageVersion: minorOf(v.version) + ".0",
	}
	if minorOf(v.version) < "3.6" {
		d.StorageVersion = ""
	}
	d.Log = logOf(d.LastTerm, d.LastIndex)
	return d
}

// logOf is a log of the one history, whose terms 1 to 3 begin at #1, #301 and #601; a
// later term is that of its last entry alone.
func logOf(term, last uint64) *planner.Log {
	l := &planner.Log{First: 1, SumsFirst: 1, Sums: entries[:last]}
	for t := uint64(1); t <= min(term, 3) && (t-1)*300+1 <= last; t++ {
		l.Terms = append(l.Terms, planner.TermRun{Term: t, First: (t-1)*300 + 1})
	}
	if term > 3 {
		return another(l, term, last, uint32(term))
	}
	return l
}

// another is the log with other entries from one on, of a later term perhaps.
func another(l *planner.Log, term, from uint64, whose uint32) *planner.Log {
	out := *l
	out.Terms = slices.DeleteFunc(slices.Clone(l.Terms), func(r planner.TermRun) bool { return r.First >= from || r.Term >= 4 })
	if term > 3 {
		out.Terms = append(out.Terms, planner.TermRun{Term: term, First: from})
	}
	out.Sums = slices.Clone(l.Sums)
	for i := max(from, 1) - 1; i < uint64(len(out.Sums)); i++ {
		out.Sums[i] = entries[i] + whose
	}
	return &out
}

// flags are those of a member's process: the file's, at the addresses as listed.
func (v *view) flags(m spec.Member, peer []string) []string {
	return append([]string{
		"--name=" + m.Name, "--data-dir=" + m.DataDir,
		"--listen-peer-urls=" + strings.Join(peer, ","), "--listen-client-urls=" + strings.Join(m.ListenClientURLs, ","),
		"--initial-advertise-peer-urls=" + strings.Join(peer, ","), "--advertise-client-urls=" + strings.Join(m.ClientURLs, ","),
		"--initial-cluster=" + v.file.InitialCluster(), "--initial-cluster-token=" + tokenBefore, "--initial-cluster-state=existing",
	}, planner.TLSArgs(m.TLS)...)
}

func (v *view) runs(m spec.Member, o *planner.MemberObservation) {
	peer := v.entryOf(m).PeerURLs
	o.Service = planner.Known(planner.Service{
		State: planner.ServiceRunning, PID: 4711, SupervisorPID: 4710, UpSeconds: 3600, Binary: "requorum", Args: v.flags(m, peer), Cluster: v.file.Name,
	})
	if o.Data.Known() {
		o.Data.Value.HeldBy = 4711
	}
	o.Peer = planner.PeerEndpoint{URL: m.PeerURLs[0], Reach: planner.ReachRefused}
	if planner.SameURLs(m.PeerURLs, peer) {
		o.Peer.Reach, o.Peer.ClusterID, o.Peer.Members = planner.ReachServing, o.Data.Value.ClusterID, planner.Known(v.list)
	}
}

// provenance is the record of a restore under the token of before.
func (v *view) provenance(m spec.Member) *planner.Provenance {
	return &planner.Provenance{
		Kind: planner.ProvenanceRestore, Token: tokenBefore, InitialCluster: v.file.InitialCluster(), Name: m.Name, ClusterID: v.cluster, MemberID: v.entryOf(m).ID,
		Source: "/backup/snapshot.db", SHA256: strings.Repeat("5a", 32), Revision: 1204, RevisionBump: spec.DefaultRevisionBump, When: "2026-01-02T03:00:00Z", By: "ops@here",
	}
}

// state takes a member's line's first word; it reports whether it is one.
func (v *view) state(m spec.Member, o *planner.MemberObservation, word string) bool {
	reach, known := reaches[word]
	if known && word != "hangs" && word != "serving" {
		o.Client = planner.Endpoint{URL: o.Client.URL, Reach: reach}
		return true
	}
	restored := v.provenance(m)
	none := v.blank(m)
	stop := func() { // its process, and nothing else
		o.Client, o.Peer = none.Client, none.Peer
		if o.Service = none.Service; o.Data.Known() && o.Data.Value.EverRan {
			o.Service = planner.Known(planner.Service{State: planner.ServiceStopped, Cluster: v.file.Name})
		}
		o.Data.Value.HeldBy = 0
	}
	if o.Data.Value.State == planner.DirAbsent && slices.Contains([]string{"serves", "down", "hangs", "starting"}, word) {
		o.Data = planner.Known(v.dir(m))
	}
	switch word {
	case "serves":
		v.runs(m, o)
		d := o.Data.Value
		o.Client = planner.Endpoint{
			URL: m.ClientURLs[0], Reach: planner.ReachServing, ClusterID: d.ClusterID, MemberID: d.MemberID, Version: v.version, Learner: v.entryOf(m).Learner,
			Revision: d.Revision, Applied: d.LastIndex, Term: d.LastTerm, DBSize: d.DBSize, Members: planner.Known(v.list),
		}
	case "hangs", "starting":
		v.runs(m, o)
		o.Client = planner.Endpoint{URL: m.ClientURLs[0], Reach: planner.ReachHangs}
		if word == "starting" {
			o.Service.Value.UpSeconds = 2
		}
	case "down":
		stop()
	case "fresh":
		*o = none
	case "unstarted":
		*o = none
	case "gone":
		*o = none
		o.Data.Value.Evidence = []string{"requorum started a member here"}
		o.Data.Value.EverRan = true
	case "erased": // the directory, and nothing of what is kept beside it
		stop()
		d := o.Data.Value
		o.Data = planner.Known(planner.DataDir{
			Path: d.Path, State: planner.DirAbsent, EverRan: d.EverRan, Provenance: d.Provenance, Staged: d.Staged, Evidence: []string{"requorum started a member here"},
		})
	case "fenced":
		stop()
		was := o.Data.Value
		was.Path += ".requorum/fenced"
		o.Data = planner.Known(planner.DataDir{Path: m.DataDir, State: planner.DirFenced, Fenced: &was, EverRan: true})
	case "claimed", "staged":
		*o = none
		o.Data.Value.Provenance = restored
		if word == "staged" {
			o.Data.Value.Staged = tokenBefore
		}
	case "restored":
		*o = none
		d := v.dir(m)
		d.Provenance, d.ProvenanceAgrees, d.EverRan, d.LastTerm, d.LastIndex = restored, true, false, 1, uint64(len(v.list))
		d.Commit, d.ConsistentIndex, d.Log, d.Revision = d.LastIndex, d.LastIndex, nil, 1204+spec.DefaultRevisionBump
		d.Members = slices.Clone(d.Members)
		for i := range d.Members {
			d.Members[i].ClientURLs = nil
		}
		o.Data = planner.Known(d)
	case "unreachable":
		why := "no route to host"
		o.Client.Reach, o.Peer.Reach = planner.ReachNoRoute, planner.ReachNoRoute
		o.Data, o.Service = planner.Unknown[planner.DataDir](why), planner.Unknown[planner.Service](why)
	default:
		return false
	}
	return true
}

// word changes what is seen of a member by one word of its line.
func (v *view) word(m spec.Member, o *planner.MemberObservation, word, value string) error {
	if value == "" && v.state(m, o, word) {
		return nil
	}
	d := &o.Data.Value
	if d.State == planner.DirFenced && d.Fenced != nil { // its data lies behind the fence
		was := *d.Fenced
		d.Fenced, d = &was, &was
	}
	for _, group := range []func(spec.Member, *planner.MemberObservation, *planner.DataDir, string, string) (bool, error){v.role, v.disk, v.numbers, v.service, v.told, v.certificates} {
		if ok, err := group(m, o, d, word, value); ok || err != nil {
			return err
		}
	}
	return fmt.Errorf("there is no word %q", word)
}

// role: who leads, and what list a member has.
func (v *view) role(m spec.Member, o *planner.MemberObservation, d *planner.DataDir, word, value string) (bool, error) {
	switch word {
	case "leader":
		v.lead = m.Name
	case "no-leader": // it is cut off
		v.alone[m.Name] = true
	case "rejoins":
		delete(v.alone, m.Name)
	case "follows": // in a half of its own
		v.leads[m.Name] = value
	case "knows": // another list than the cluster's
		var list []planner.ListedMember
		for _, w := range strings.Split(value, ",") {
			list = append(list, v.listed(w))
		}
		d.Members = list
		if o.Client.Members.Known() {
			o.Client.Members = planner.Known(list)
		}
		if o.Peer.Members.Known() {
			o.Peer.Members = planner.Known(list)
		}
	case "cluster", "id": // not this one's
		if word == "id" {
			d.MemberID = value
		} else {
			d.ClusterID = v.id(value)
		}
		if o.Client.Reach == planner.ReachServing {
			o.Client.ClusterID, o.Client.MemberID = d.ClusterID, d.MemberID
		}
		if o.Peer.Reach == planner.ReachServing {
			o.Peer.ClusterID = d.ClusterID
		}
	case "peer":
		reach, ok := reaches[value]
		if !ok {
			return true, fmt.Errorf("there is no %s", value)
		}
		o.Peer = planner.PeerEndpoint{URL: m.PeerURLs[0], Reach: reach}
		if reach == planner.ReachServing {
			o.Peer.ClusterID, o.Peer.Members = d.ClusterID, planner.Known(d.Members)
			if o.Service.Known() && len(o.Service.Value.Args) > 0 {
				o.Service.Value.Args = v.flags(m, m.PeerURLs)
			}
		}
	case "detail":
		o.Client.Detail = value
	default:
		return false, nil
	}
	return true, nil
}

// disk: what lies at the data directory's path.
func (v *view) disk(m spec.Member, o *planner.MemberObservation, d *planner.DataDir, word, value string) (bool, error) {
	switch word {
	case "returns": // its disk is there again, as it was at first
		*d = v.dir(m)
		d.HeldBy = 0
	case "empty":
		d.State = planner.DirEmpty
	case "not-a-directory":
		*d = planner.DataDir{Path: m.DataDir, State: planner.DirNotDir}
	case "problem":
		d.Problem = value
	case "no-identity": // not even whose it is can be read
		*d = planner.DataDir{Path: m.DataDir, State: planner.DirPresent, Problem: d.Problem, EverRan: true}
	case "unread":
		o.Data = planner.Unknown[planner.DataDir](value)
	case "provenance": // of the token before, and its data has gone on since
		d.Provenance, d.ProvenanceAgrees = v.provenance(m), true
		d.Provenance.Kind = value
	case "bump":
		p := *d.Provenance
		d.Provenance = &p
		_, err := fmt.Sscan(value, &p.RevisionBump)
		return true, err
	case "evidence":
		d.Evidence = append(slices.Clone(d.Evidence), value)
	case "uncommitted-membership":
		d.UncommittedMembership = true
	case "parts": // its log is another from this entry on
		from, err := strconv.ParseUint(value, 10, 64)
		if err != nil || d.Log == nil {
			return true, fmt.Errorf("no log parts at %q", value)
		}
		d.Log = another(d.Log, d.LastTerm, from, uint32(m.Name[1]))
	case "forced":
		l := *d.Log
		_, err := fmt.Sscan(value, &l.Forced)
		d.Log = &l
		return true, err
	case "tail": // KIND:KEY,… after commit=
		for i, e := range strings.Split(value, ",") {
			kind, key, _ := strings.Cut(e, ":")
			d.Tail = append(slices.Clone(d.Tail), planner.TailEntry{
				Index: d.Commit + 1 + uint64(i), Term: d.LastTerm, Kind: kind, Key: key, Text: kind + " " + key,
				Risky: !slices.Contains([]string{planner.EntryPut, planner.EntryTxn, planner.EntryLease, planner.EntryInternal}, kind),
			})
		}
	case "removed": // IDs that its db has as removed
		d.Removed = strings.Split(value, ",")
		for i, n := range d.Removed {
			d.Removed[i] = v.listed(n).ID
		}
	case "held":
		_, err := fmt.Sscan(value, &d.HeldBy)
		return true, err
	default:
		return false, nil
	}
	return true, nil
}

// numbers: what stands in the log and the database.
func (v *view) numbers(_ spec.Member, o *planner.MemberObservation, d *planner.DataDir, word, value string) (bool, error) {
	var err error
	switch word {
	case "log": // TERM/INDEX; agreed on to its end, unless commit= says otherwise
		if _, err = fmt.Sscanf(value, "%d/%d", &d.LastTerm, &d.LastIndex); err == nil {
			d.Commit, d.ConsistentIndex = d.LastIndex, d.LastIndex
			d.Log = logOf(d.LastTerm, d.LastIndex)
		}
	case "commit":
		if _, err = fmt.Sscan(value, &d.Commit); err == nil {
			d.ConsistentIndex = min(d.ConsistentIndex, d.Commit)
		}
	case "consistent":
		_, err = fmt.Sscan(value, &d.ConsistentIndex)
	case "rev":
		_, err = fmt.Sscan(value, &d.Revision)
		o.Client.Revision = d.Revision
	case "applied":
		_, err = fmt.Sscan(value, &o.Client.Applied)
	case "storage": // the version that wrote it
		d.StorageVersion, d.ClusterVersion = value+".0", value+".0"
		if value < "3.6" {
			d.StorageVersion = ""
		}
	case "free": // MiB
		var n int64
		_, err = fmt.Sscan(value, &n)
		o.FreeBytes = planner.Known(n << 20)
	case "binary":
		o.Binary = planner.Known(planner.Binary{Version: value})
	case "version":
		o.Client.Version = value
	case "dbsize": // MiB
		var n int64
		_, err = fmt.Sscan(value, &n)
		d.DBSize, o.Client.DBSize = n<<20, n<<20
	default:
		return false, nil
	}
	return true, err
}
