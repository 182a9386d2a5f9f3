package planner

// The actions by which a cluster is brought back from what its disks hold.

// Save saves a snapshot from a member that runs, with or without a quorum, into
// a file that does not exist yet.
type Save struct {
	Name      string `json:"name"`
	ClusterID string `json:"cluster_id"` // who has to answer there
	MemberID  string `json:"member_id"`
	ClientURL string `json:"client_url"`
	Host      string `json:"host,omitempty"` // where Path is, as in Place
	Path      string `json:"path"`
}

// Fence stops members of the old identity, by whomever they were started, and
// puts a plain file at each one's data path, so that nothing can start on it
// again (S18); the data is kept aside, and Unfence brings it back.
type Fence struct {
	Cluster string        `json:"cluster"`
	Members []FenceMember `json:"members"`
	// Vacant are places without data whose own unit could begin a cluster there, as after
	// a reboot: it is kept from being started.
	Vacant []Place `json:"vacant,omitempty"`
}

// FenceMember is a place and whose data has to lie there (S5).
type FenceMember struct {
	Place
	Over Identity `json:"over"`
}

// Unfence puts fenced directories back where they were.
type Unfence struct {
	Members []FenceMember `json:"members"`
}

// Recover makes, of a copy of a fenced survivor's directory, all that its log
// holds readable: a snapshot at Out with a record beside it, or, in place, a
// directory of a cluster of one that is staged to be installed. The survivor's
// own directory is only read.
type Recover struct {
	Place
	Binary    string `json:"binary,omitempty"` // of the survivor's own minor (S12)
	ClusterID string `json:"cluster_id"`
	MemberID  string `json:"member_id"`
	LastTerm  uint64 `json:"last_term"` // the log's end as the plan saw it
	LastIndex uint64 `json:"last_index"`
	// Upto is the last entry that is taken: LastIndex, or the last proven one
	// where the tail is dropped (S9).
	Upto uint64 `json:"upto"`
	Out  string `json:"out,omitempty"`
	// From is a directory at no member's place, as the file's source; Place is then
	// only where the work is done. Nobody may have it open, and no fence is wanted:
	// nothing starts from there. nil for what lies behind the member's own fence.
	From *RecoverFrom `json:"from,omitempty"`
	// InPlace has the identity to be staged, for a recovery without a new one;
	// nil otherwise.
	InPlace *Provenance `json:"in_place,omitempty"`
}

// RecoverFrom is a stopped member's directory that is only read.
type RecoverFrom struct {
	DataDir string `json:"data_dir"`
	WALDir  string `json:"wal_dir,omitempty"`
}
