package planner

import "github.com/requorum/requorum/spec"

// Action is what one step does. The set is sealed: every type in it is in
// Actions, and tests walk that list through the JSON form, the renderers and
// the executor, so that an action cannot be half added.
//
// Ordering rules stand on the types. An action holds everything that the
// executor needs; the executor decides nothing.
type Action interface {
	// Kind is the action's stable name in plans, journals and documents.
	Kind() string
	// Targets are the names of the members it touches, in order.
	Targets() []string
	sealed()
}

// Place is a member's place on its host.
type Place struct {
	Name    string `json:"name"`
	Host    string `json:"host,omitempty"` // "" for this machine
	DataDir string `json:"data_dir"`
	WALDir  string `json:"wal_dir,omitempty"`
	// Unit is the systemd unit that keeps the member running; "" for requorum's own
	// supervisor.
	Unit string `json:"unit,omitempty"`
}

// PlaceOf is where the file has a member.
func PlaceOf(c *spec.Cluster, m spec.Member) Place {
	p := Place{Name: m.Name, Host: m.Host, DataDir: m.DataDir, WALDir: m.WALDir}
	if h, _ := c.Host(m.Host); h.Service.Kind == spec.ServiceSystemd {
		p.Unit = h.Service.Unit
	}
	return p
}

// At is the place itself, for what has one.
func (p Place) At() Place { return p }

// Claim records the identity that members are about to get beside their data
// directories, before anything else is written there, so that an interrupted
// bootstrap is finished under the same token and an absent directory is never
// taken for a fresh one.
type Claim struct {
	Members []ClaimMember `json:"members"`
}

// ClaimMember is a place and the provenance to be written beside it.
type ClaimMember struct {
	Place
	Provenance Provenance `json:"provenance"`
}

// Restore verifies a snapshot and restores it for members into staging beside
// their data directories. Nothing at the data directories' own paths changes.
// The token is recorded (as Claim does) before the first byte is staged.
type Restore struct {
	Snapshot string `json:"snapshot"` // path on SnapshotHost
	// SnapshotHost is where the snapshot lies, as in Place: it goes from there to the
	// members' hosts.
	SnapshotHost string `json:"snapshot_host,omitempty"`
	SHA256       string `json:"sha256,omitempty"` // of the bbolt bytes, as the plan saw it
	// Recovered is true where the snapshot is what a Recover before it makes: its
	// sha256 and revision are then read from the record that Recover leaves, and
	// entered into the members' provenance.
	Recovered     bool          `json:"recovered,omitempty"`
	SkipHashCheck bool          `json:"skip_hash_check,omitempty"`
	RevisionBump  int64         `json:"revision_bump"`
	Members       []ClaimMember `json:"members"`
	// ForgetVersion is true where an etcd before 3.6 is to run: it would leave the
	// version that the snapshot's writer noted in the db there for ever.
	ForgetVersion bool `json:"forget_version,omitempty"`
}

// Trial starts etcd on a throwaway copy of one member's staged directory, alone
// and on loopback, and reads it: proof, before anything is put in place, that
// this binary starts from this data (S13). It comes where a directory is moved aside,
// or was, for what is tried; otherwise the first start, closed, is the trial.
type Trial struct {
	Place
	Token    string `json:"token"`
	Binary   string `json:"binary,omitempty"` // "" for the etcd inside requorum
	Revision int64  `json:"revision"`         // that must be there at least
	Keys     int    `json:"keys"`             // that must be there exactly; -1 where the snapshot is no longer at hand to say
}

// Install puts staged directories in the place of their data directories. A
// directory that is there is swapped out in one step and kept, so that the path
// is never absent (S18).
type Install struct {
	Token   string          `json:"token"`
	Members []InstallMember `json:"members"`
}

// InstallMember is a place and whose data may be moved aside there (S5).
type InstallMember struct {
	Place
	// Over is the identity of the directory that goes aside. The zero value says
	// that there is none: a place that has member's data by then is refused.
	Over Identity `json:"over"`
}

// Identity is whose data a directory holds, both IDs in hex.
type Identity struct {
	ClusterID string `json:"cluster_id,omitempty"`
	MemberID  string `json:"member_id,omitempty"`
}

// Start installs the members' services and starts those that do not run. It
// comes after everything that members need in place, and its members are
// started together: one alone would wait for the others.
type Start struct {
	Members []StartMember `json:"members"`
	// Voters is how many voters the cluster has; it is up when a majority of
	// them follows one leader.
	Voters int `json:"voters"`
	// Closed is true where the members' client listeners are closed, but for a socket
	// in requorum's own folder: a new identity before it was verified (S17). Verify,
	// Stop and another Start, for clients, follow.
	Closed bool `json:"closed,omitempty"`
}

// StartMember is one member's service.
type StartMember struct {
	Place
	Cluster string   `json:"cluster"`          // the file's name for it: whose file this place belongs to
	Binary  string   `json:"binary,omitempty"` // "" for the etcd inside requorum
	Args    []string `json:"args"`             // etcd's command line
	// ClusterID and MemberID must be what the data directory holds whenever the
	// service starts etcd, except once, where Bootstrap allows an absent one.
	ClusterID string `json:"cluster_id"`
	MemberID  string `json:"member_id"`
	Bootstrap bool   `json:"bootstrap,omitempty"`
	// ClientURL is where it is asked whether it serves.
	ClientURL string `json:"client_url"`
	// Carried are those of Args that are not the file's but came along when the
	// member was adopted.
	Carried []string `json:"carried,omitempty"`
	// Program is what a systemd unit runs, before the flags; Files are those of the
	// unit that have to be otherwise first.
	Program []string     `json:"program,omitempty"`
	Files   []FileChange `json:"files,omitempty"`
}

// FileChange is a file of a member's service as it has to be. One that is there
// keeps its owner and mode.
type FileChange struct {
	Path string `json:"path"`
	Text string `json:"text"`
	// Was is the sha256, in hex, of what the plan saw there; "" for no file. One that
	// is another by then is not written over.
	Was string `json:"was,omitempty"`
}

// Adopt gives a running member a supervisor, without touching it: one whose
// supervisor died, or one that somebody else started. It never comes for a
// process that has a keeper of its own, nor for one with --force-new-cluster.
type Adopt struct {
	Members []AdoptMember `json:"members"`
}

// AdoptMember is a running member, and what it is started with the next time.
type AdoptMember struct {
	StartMember
	// PID and Start are those of the Foreign process that is taken over; zero
	// where it is an etcd of requorum's own.
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
}

// Verify reads the whole cluster back: every member serves, one cluster ID, one
// leader, equal HashKV, and at least the revision that was promised; alarms of members
// that are no more are disarmed where Disarm says so. Keys are counted only while the
// client listeners are closed: clients may write from the moment that members serve.
type Verify struct {
	Members   []string `json:"members"`
	ClusterID string   `json:"cluster_id"`
	Revision  int64    `json:"revision,omitempty"`
	Disarm    bool     `json:"disarm,omitempty"`
	// Closed is set where the members' client listeners are closed. Nobody writes
	// then, so that all is held to the source, and members that differ, or that are
	// not those planned, end the plan before a client was served (S17).
	Closed *ClosedCheck `json:"closed,omitempty"`
	// Lease is true right after members that were verified closed were started for
	// their clients: their data is not compared again; a lease is granted and revoked,
	// which goes the way of a write and leaves nothing in the key space.
	Lease bool `json:"lease,omitempty"`
	// Version is the minor that the whole cluster has to have come to ("3.6"): every
	// member runs it, etcd has raised or lowered the cluster's own version, and no
	// downgrade is on any more. Without that the next minor is not taken in. "" for any.
	Version string `json:"version,omitempty"`
}

// ClosedCheck is what a Verify needs besides where client listeners are closed.
type ClosedCheck struct {
	URLs      []string `json:"urls"`       // where each of Verify.Members answers, in that order
	MemberIDs []string `json:"member_ids"` // all that the member list has to have, in hex
	// Keys are those that have to be there, Verify.Revision then being the exact one;
	// -1 where the source is no longer at hand to say.
	Keys int `json:"keys"`
}

// Stop stops the members' services and keeps all data. A leader is stopped only
// after MoveLeader, where there is another voter to lead.
type Stop struct {
	Cluster string       `json:"cluster"` // whose services they have to be
	Members []StopMember `json:"members"`
}

// StopMember is a member to stop.
type StopMember struct {
	Place
	// PID and Start are those of the Foreign process to end; zero for requorum's
	// own service alone.
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
	// Removed is true for a member that is none any more, and that the file does not
	// have: nothing may start it again, after a boot either.
	Removed bool `json:"removed,omitempty"`
	// Next is the etcd that it is started with afterwards, where that is of another
	// version: it has to be there, and of that version still, or the member is not stopped.
	Next *Binary `json:"next,omitempty"`
}

// SetAside moves a data directory, and a WAL directory of its own, out of the
// way, after the removal of the member that it was.
type SetAside struct {
	Place
	Over Identity `json:"over"` // whose data it is; zero where that can't be read
	// Problem is why the plan takes the directory for useless; with it, a
	// directory whose log can't be read may be moved.
	Problem string `json:"problem,omitempty"`
}

// Kind implements Action.
func (Claim) Kind() string { return "claim" }

// Kind implements Action.
func (Restore) Kind() string { return "restore" }

// Kind implements Action.
func (Trial) Kind() string { return "trial" }

// Kind implements Action.
func (Install) Kind() string { return "install" }

// Kind implements Action.
func (Start) Kind() string { return "start" }

// Kind implements Action.
func (Adopt) Kind() string { return "adopt" }

// Kind implements Action.
func (Verify) Kind() string { return "verify" }

// Kind implements Action.
func (Stop) Kind() string { return "stop" }

// Kind implements Action.
func (Update) Kind() string { return "update-member" }

// Kind implements Action.
func (Add) Kind() string { return "add-learner" }

// Kind implements Action.
func (Join) Kind() string { return "join" }

// Kind implements Action.
func (Promote) Kind() string { return "promote" }

// Kind implements Action.
func (MoveLeader) Kind() string { return "move-leader" }

// Kind implements Action.
func (Remove) Kind() string { return "remove-member" }

// Kind implements Action.
func (TrimLog) Kind() string { return "trim-log" }

// Kind implements Action.
func (Downgrade) Kind() string { return "enable-downgrade" }

// Kind implements Action.
func (CancelDowngrade) Kind() string { return "cancel-downgrade" }

// Kind implements Action.
func (SetAside) Kind() string { return "set-aside" }

// Kind implements Action.
func (Save) Kind() string { return "save-snapshot" }

// Kind implements Action.
func (Fence) Kind() string { return "fence" }

// Kind implements Action.
func (Unfence) Kind() string { return "unfence" }

// Kind implements Action.
func (Recover) Kind() string { return "recover" }

// Targets implements Action.
func (a Claim) Targets() []string { return claimNames(a.Members) }

// Targets implements Action.
func (a Restore) Targets() []string { return claimNames(a.Members) }

// Targets implements Action.
func (a Trial) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a Install) Targets() []string {
	out := make([]string, len(a.Members))
	for i, m := range a.Members {
		out[i] = m.Name
	}
	return out
}

// Targets implements Action.
func (a Adopt) Targets() []string {
	out := make([]string, len(a.Members))
	for i, m := range a.Members {
		out[i] = m.Name
	}
	return out
}

// Targets implements Action.
func (a Verify) Targets() []string { return a.Members }

// Targets implements Action.
func (a Stop) Targets() []string {
	out := make([]string, len(a.Members))
	for i, m := range a.Members {
		out[i] = m.Name
	}
	return out
}

// Targets implements Action.
func (a Start) Targets() []string {
	out := make([]string, len(a.Members))
	for i, m := range a.Members {
		out[i] = m.Name
	}
	return out
}

// Targets implements Action.
func (a Update) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a Add) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a Join) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a Promote) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a Remove) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a TrimLog) Targets() []string {
	out := make([]string, len(a.Members))
	for i, p := range a.Members {
		out[i] = p.Name
	}
	return out
}

// Targets implements Action.
func (a Downgrade) Targets() []string { return a.Members }

// Targets implements Action.
func (a CancelDowngrade) Targets() []string { return a.Members }

// Targets implements Action.
func (a SetAside) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a Save) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a Recover) Targets() []string { return []string{a.Name} }

// Targets implements Action.
func (a MoveLeader) Targets() []string { return []string{a.From, a.To} }

// Targets implements Action.
func (a Fence) Targets() []string {
	out := fenceNames(a.Members)
	for _, p := range a.Vacant {
		out = append(out, p.Name)
	}
	return out
}

// Targets implements Action.
func (a Unfence) Targets() []string { return fenceNames(a.Members) }

func (Claim) sealed()           {}
func (Restore) sealed()         {}
func (Trial) sealed()           {}
func (Install) sealed()         {}
func (Start) sealed()           {}
func (Adopt) sealed()           {}
func (Verify) sealed()          {}
func (Stop) sealed()            {}
func (Update) sealed()          {}
func (Add) sealed()             {}
func (Join) sealed()            {}
func (Promote) sealed()         {}
func (MoveLeader) sealed()      {}
func (Remove) sealed()          {}
func (SetAside) sealed()        {}
func (TrimLog) sealed()         {}
func (Downgrade) sealed()       {}
func (CancelDowngrade) sealed() {}
func (Save) sealed()            {}
func (Fence) sealed()           {}
func (Unfence) sealed()         {}
func (Recover) sealed()         {}

// Actions has one value of every action, for tests and documents.
func Actions() []Action {
	return []Action{Claim{}, Restore{}, Trial{}, Install{}, Start{}, Adopt{}, Verify{}, Stop{},
		Update{}, Add{}, Join{}, Promote{}, MoveLeader{}, Remove{}, SetAside{}, Save{}, Fence{}, Unfence{}, Recover{}, Downgrade{}, CancelDowngrade{}, TrimLog{}}
}

func claimNames(ms []ClaimMember) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = m.Name
	}
	return out
}

func fenceNames(ms []FenceMember) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = m.Name
	}
	return out
}
