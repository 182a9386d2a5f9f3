// Package host is the contract between requorum and a machine that members live
// on. Everything that touches a data directory or a process is behind it, as
// requests and results that are plain data: the same code answers them on this
// machine (host/local) and, later, on the far side of ssh.
//
// The rules that every driver keeps, and that the shared suite holds it to:
//
//   - Observe changes nothing: no file, no lock, no process.
//   - A request is all or nothing for each member, and may be repeated after any
//     interruption: what is already done is recognised and left alone.
//   - Nothing that could be a member's data is ever removed. What stands in the
//     way is moved aside, under Layout.Aside.
//   - Data is made durable (fsync of files and of their folders) before the
//     request that made it returns.
//   - Cancelling ctx stops at the next safe point; the error says what is left.
package host

import (
	"context"
	"fmt"
	"strings"

	"github.com/requorum/requorum/planner"
)

// Host is one machine.
type Host interface {
	// Observe reads what lies and runs at the places, all at once. A place that
	// can't be read gives an unknown fact, never an error for the whole.
	Observe(ctx context.Context, places []planner.Place) (map[string]Facts, error)
	// Etcds describes the etcds that run on the machine, as far as they can be looked
	// into.
	Etcds(ctx context.Context) []planner.Foreign
	// Prove reads whole databases, which Observe does not: it says what is wrong with
	// the data that lies at each of the places, or behind the fence there, "" for
	// nothing. It changes nothing. A place without data that could be read is left
	// out. The error is ctx's.
	Prove(ctx context.Context, places []planner.Place, progress Progress) (map[string]string, error)
	// Binary says which etcd stands at path; "" is the one inside requorum.
	Binary(ctx context.Context, path string) planner.Fact[planner.Binary]
	// Keys reads the files of certificates that members serve with, as the user would
	// whom each runs as, by KeyAsk.ID. It changes nothing; what can't be told is unknown.
	Keys(ctx context.Context, asks []KeyAsk) map[string]planner.Fact[Keys]
	// Lock takes the exclusive lock of every place or of none. A place that is
	// locked by somebody else gives a *LockedError. The lock ends with its
	// holder, however that ends, or with BreakLock.
	//
	// From then on the host acts on these places only as long as that lock is the
	// current one, which it looks at right before each act, and, within a long one,
	// before each of its parts: the error is a *LostError. What was asked for on a
	// connection whose lock was broken meanwhile is not done any more (S23).
	Lock(ctx context.Context, places []planner.Place, holder Holder) (Lock, error)
	// Locks says how the locks of the places stand, and takes none.
	Locks(ctx context.Context, places []planner.Place) (map[string]LockState, error)
	// BreakLock ends somebody else's lock of a place, whose epoch has to be this one.
	// The epoch is recorded first, so that the next one is higher.
	BreakLock(ctx context.Context, place planner.Place, epoch int64) error
	// Record appends lines to the copy of a run's journal that is kept beside the
	// place, for whoever takes over from another machine. Run is the run's ID, a plain
	// file name.
	Record(ctx context.Context, place planner.Place, run string, lines []byte) error

	Claim(ctx context.Context, a planner.Claim) error
	Restore(ctx context.Context, a planner.Restore, progress Progress) error
	Trial(ctx context.Context, a planner.Trial, progress Progress) error
	Install(ctx context.Context, a planner.Install) error
	// Start installs and starts the services; it returns when the supervisors
	// have taken over, not when etcd serves. A service that another cluster's
	// file installed is refused. With Bootstrap, an empty directory takes the place
	// of a fence, in one step, right before the new member's first start.
	Start(ctx context.Context, members []planner.StartMember) error
	// Adopt returns when each running process has a supervisor. None is touched,
	// started or ended. A process that is not the one planned is refused, and one
	// that has a keeper, or whose settings can't be told.
	Adopt(ctx context.Context, members []planner.AdoptMember) error
	// Stop returns when the members' processes have ended, and those foreign ones
	// that were named. Where a place's service was installed for another cluster
	// than this one, nothing is stopped.
	Stop(ctx context.Context, cluster string, members []planner.StopMember) error
	// SetAside moves what lies at a place to Layout.Aside and leaves a fence where
	// the data was, so that nobody else can start on the path before a new member
	// does; a log of its own goes aside for good. What is fenced already stays
	// fenced, and a path that has no data stays as it is. It is refused while a
	// process has the data open, and where it is not whose the plan says.
	SetAside(ctx context.Context, a planner.SetAside) error
	// Fence returns when no process has the members' data open any more and none
	// can start on it; a place that is fenced already is left so. Claim, Restore and
	// Install take a fenced place for a vacant one; Start is refused there, but for
	// one with Bootstrap.
	Fence(ctx context.Context, a planner.Fence) error
	// Unfence puts data back where it was fenced, with the record of its origin as
	// it was then; the services stay stopped.
	Unfence(ctx context.Context, a planner.Unfence) error
	// Recover works on a copy of what lies behind the fence. A result that is there
	// already, and is of this request, is left as it is.
	Recover(ctx context.Context, a planner.Recover, progress Progress) error
}

// Progress is told about long work: done of total bytes, and what is going on.
// It may be nil.
type Progress func(what string, done, total int64)

// Facts is what a host knows about one place.
type Facts struct {
	Data    planner.Fact[planner.DataDir]
	Service planner.Fact[planner.Service]
	// Binary is the etcd that the member's own service runs, where the file may leave
	// that to it; else it is unknown.
	Binary    planner.Fact[planner.Binary]
	FreeBytes planner.Fact[int64]
	// Received is the size, in bytes, of what lies in the data directory's snap folder:
	// while a new member copies the database, how far it is.
	Received int64
	// FileSystem tells file systems apart; "" if unknown.
	FileSystem string
	// Base is Layout.Base of the place.
	Base string
	// Plans are the digests of the saved plans that were begun here, by PlanRun.
	Plans planner.Fact[[]string]
}

// planRuns begins the names of the marks that saved plans were begun.
const planRuns = "plan-"

// PlanRun is the name under which Record marks at a place that the saved plan with
// this digest was begun: each is carried out once, whoever does it from wherever.
func PlanRun(digest string) string { return planRuns + digest }

// RunPlan is the digest in a name that PlanRun gave.
func RunPlan(name string) (digest string, ok bool) { return strings.CutPrefix(name, planRuns) }

// Holder says who holds a lock.
type Holder struct {
	Who       string `json:"who"` // user@host
	PID       int    `json:"pid"`
	Operation string `json:"operation"` // the verb
	Cluster   string `json:"cluster"`
	Since     string `json:"since"` // RFC 3339, UTC
	// Epoch is the lock's number at its place: the host gives it, and a later one's is
	// higher wherever anything was done under this one.
	Epoch int64 `json:"epoch,omitempty"`
	// Plan is the digest of the plan that is carried out, "" until there is one.
	Plan string `json:"plan,omitempty"`
}

// Lock is held until Release.
type Lock interface {
	// Held returns an error, a *LostError, when the lock was lost, and ctx's where it
	// ended before that was known.
	Held(ctx context.Context) error
	// Note writes down at each place which plan is carried out under the lock. It is
	// for whoever asks, and nothing rests on it.
	Note(plan string) error
	// Epochs has the lock's number at each place, by the member's name.
	Epochs() map[string]int64
	// Release gives the lock up and leaves no file or folder behind that was
	// made for it.
	Release() error
}

// LockState is how a place's lock stands.
type LockState struct {
	Path string `json:"path"`
	// Held is whether a living process has it; unknown where that can't be told.
	Held planner.Fact[bool] `json:"held"`
	// Holder is who holds it, or who left it behind without giving it up; the zero
	// value for nobody.
	Holder Holder `json:"holder"`
	// Epoch is the highest number that is recorded.
	Epoch int64 `json:"epoch"`
}

// LockedError says that somebody else is at work.
type LockedError struct {
	Path   string
	Holder Holder
}

// Error implements error.
func (e *LockedError) Error() string {
	text := fmt.Sprintf("%s is locked by %s (pid %d), who has been running %q on cluster %s since %s",
		e.Path, e.Holder.Who, e.Holder.PID, e.Holder.Operation, e.Holder.Cluster, e.Holder.Since)
	if len(e.Holder.Plan) >= 12 {
		text += ", plan " + e.Holder.Plan[:12]
	}
	return text
}

// Regained is a Lock that can tell whether anybody else acted at its places, or broke a
// lock there, since the same holder had them under these epochs, by member: a
// *LostError then.
type Regained interface {
	Untouched(since map[string]int64) error
}

// LostError says that a lock is not the current one any more.
type LostError struct {
	Path string
	Why  string
}

// Error implements error.
func (e *LostError) Error() string { return fmt.Sprintf("the lock %s was lost: %s", e.Path, e.Why) }
