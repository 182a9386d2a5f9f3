package planner

// The actions that change the cluster's member list, or who leads it.

// Update changes the peer URLs that the cluster has for a member. It is never
// planned for a learner, which older servers would promote by it.
type Update struct {
	Name      string   `json:"name"`
	MemberID  string   `json:"member_id"`
	PeerURLs  []string `json:"peer_urls"`
	Endpoints []string `json:"endpoints"` // client URLs of members that serve
}

// Add lists a new member as a learner. One that is listed with these peer URLs
// is taken for it. It comes only when no other member is unstarted.
type Add struct {
	Name      string   `json:"name"`
	PeerURLs  []string `json:"peer_urls"`
	Endpoints []string `json:"endpoints"`
}

// Join starts a listed member for the first time, on an empty place. Its member
// ID and --initial-cluster are taken from the cluster's list when it is carried
// out, for the cluster gives the ID; its identity is recorded (as Claim does)
// before it starts.
type Join struct {
	StartMember          // MemberID is empty, --initial-cluster is not among Args
	PeerURLs    []string `json:"peer_urls"`
	Endpoints   []string `json:"endpoints"`
	When        string   `json:"when"` // for its provenance
	By          string   `json:"by"`
}

// Promote makes a learner a voter, once it has what the leader has.
type Promote struct {
	Name      string   `json:"name"`
	PeerURLs  []string `json:"peer_urls"`
	ClientURL string   `json:"client_url"` // the learner's own
	Endpoints []string `json:"endpoints"`  // of voters
}

// MoveLeader hands the lead over to another voter; nothing where From does not
// lead any more.
type MoveLeader struct {
	From      string   `json:"from"`
	FromID    string   `json:"from_id"`
	To        string   `json:"to"`
	ToURL     string   `json:"to_url"` // its client URL
	Endpoints []string `json:"endpoints"`
}

// Downgrade tells the cluster that it is to go back by one minor version. It comes
// before the first member is restarted with that, and is done when the database of every
// member is one that the older etcd reads. It ends by itself when all of them run it.
type Downgrade struct {
	Version   string   `json:"version"` // "3.6"
	Members   []string `json:"members"` // those of the file that serve
	Endpoints []string `json:"endpoints"`
}

// CancelDowngrade calls off what Downgrade, or somebody else, has begun.
type CancelDowngrade struct {
	Members   []string `json:"members"`
	Endpoints []string `json:"endpoints"`
}

// TrimLog has every member make a snapshot of its log's state, so that what lies before it
// is not read again at a start: it puts entries into the cluster's log that change nothing,
// until each has. It comes before the first member is restarted with etcd 3.7, which ends
// at entries that 3.5 wrote.
type TrimLog struct {
	Members   []Place  `json:"members"`
	Endpoints []string `json:"endpoints"`
}

// Remove takes a member off the cluster's list, for good. It is done when a
// quorum of those that are left has it so (S19).
type Remove struct {
	Name      string   `json:"name"`
	MemberID  string   `json:"member_id"`
	Endpoints []string `json:"endpoints"` // of members that stay
}
