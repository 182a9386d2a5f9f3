package process

import (
	"io/fs"
	"os"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// starting is the state between the supervisor's own start and etcd's.
const starting planner.ServiceState = "starting"

// state is what the supervisor reports, at Layout.SupervisorState.
type state struct {
	Supervisor procID `json:"supervisor"`
	// Child is the etcd that was started or adopted last.
	Child procID `json:"child"`
	// Adopted is true where somebody else started Child: its command line need not
	// name the data directory.
	Adopted bool                 `json:"adopted,omitempty"`
	State   planner.ServiceState `json:"state"`
	// Restarts counts the starts after a crash since the service was last
	// started by request.
	Restarts int    `json:"restarts"`
	Since    string `json:"since"` // of State; RFC 3339
	// Args and Private are what Child was started with.
	Args    []string `json:"args,omitempty"`
	Private string   `json:"private,omitempty"`
	// LastExit is how etcd ended last, LastError its last words then; with
	// ServiceFailed, why it is not started.
	LastExit  string `json:"last_exit,omitempty"`
	LastError string `json:"last_error,omitempty"`
}

func readState(l host.Layout) (state, error) {
	var s state
	return s, readJSON(l.SupervisorState(), &s)
}

// supervised reports whether the supervisor on record lives, and is the one of
// this very folder: a folder that was copied while its member ran holds the
// record of the original's.
func (s state) supervised(l host.Layout) bool {
	args := cmdline(s.Supervisor.PID)
	ending := len(args) == 1 && args[0] == "" // the kernel has taken its memory already
	return s.Supervisor.alive() && (ending || supervises(args, l))
}

func timestamp() string { return time.Now().UTC().Format(time.RFC3339) }

// Status says how the member's service stands. It only reads.
func Status(l host.Layout) planner.Service {
	cfg, err := ReadConfig(l)
	if err != nil {
		return noService(l, err)
	}
	if cfg.DataDir != l.DataDir {
		out := noService(l, fs.ErrNotExist)
		out.Cluster = cfg.Cluster
		out.LastError = "never started here: its files were copied or moved from " + cfg.DataDir
		return out
	}
	st, _ := readState(l)
	out := planner.Service{
		Cluster: cfg.Cluster,
		State:   planner.ServiceStopped, Restarts: st.Restarts, Since: st.Since,
		LastError: Scrub(st.LastError), Binary: cfg.Binary, Args: TellFlags(cfg.Args), Carried: TellFlags(cfg.Carried), Log: l.Log(),
	}
	if out.Binary == "" {
		out.Binary = "requorum"
	}
	if st.supervised(l) {
		out.SupervisorPID = st.Supervisor.PID
	}
	if child, ok := runningChild(l, st); ok {
		out.State, out.PID, out.UpSeconds = planner.ServiceRunning, child.PID, child.up()
		if args := argsOf(child, st); args != nil {
			out.Args = TellFlags(args)
		}
		if words := lastWords(l.Log()); words != "" {
			out.LastError = words
		}
		out.Signs = signs(l.Log(), time.Now())
		return out
	}
	out.State, out.LastError = atRest(st, out.SupervisorPID != 0)
	out.LastError = Scrub(out.LastError)
	if st.State != planner.ServiceStopped { // by request: what it said then is of then
		out.Signs = signs(l.Log(), time.Time{})
	}
	return out
}

func noService(l host.Layout, err error) planner.Service {
	out := planner.Service{State: planner.ServiceNone}
	if !absent(err) {
		out.State, out.LastError = planner.ServiceFailed, err.Error()
	}
	if _, statErr := os.Stat(l.Log()); statErr == nil {
		out.Log = l.Log()
	}
	return out
}

// runningChild finds the living etcd of this service.
func runningChild(l host.Layout, st state) (procID, bool) {
	if st.Child.alive() && (hasDataDir(cmdline(st.Child.PID), l.DataDir) || st.Adopted && holds(st.Child.PID, l.DataDir, l.WALDir)) {
		return st.Child, true
	}
	p, ours, found := find(l)
	return p, found && ours
}

// argsOf are the arguments of the living etcd of this service: its own, for the record
// may be older than the process, where the supervisor died, or the disk was full, as it
// had just started it. One that somebody else started may have been given others than
// are on its command line; they were written down together with who it is.
func argsOf(child procID, st state) []string {
	if st.Adopted && st.Child == child {
		return st.Args
	}
	args := cmdline(child.PID)[1:]
	if len(args) > 0 && args[0] == "etcd" { // requorum etcd
		args = args[1:]
	}
	if len(args) == 0 || !child.alive() { // it ends
		return st.Args
	}
	return args
}

// with is the record as it is where child runs.
func (s state) with(child procID) state {
	args := argsOf(child, s)
	if s.Child != child { // it was started, and not written down
		s.Child, s.Adopted, s.Private = child, false, cmdline(child.PID)[0]
	}
	s.Args = args
	return s
}

// atRest gives the state and the words where no etcd runs.
func atRest(st state, supervised bool) (planner.ServiceState, string) {
	switch {
	case supervised && st.State == planner.ServiceFailed, st.State == planner.ServiceFailed:
		return planner.ServiceFailed, st.LastError
	case supervised: // between a crash and the next start
		return planner.ServiceBackoff, st.LastError
	case st.State == planner.ServiceStopped, st.State == "":
		return planner.ServiceStopped, st.LastError
	case st.Supervisor.Boot != bootID():
		return planner.ServiceStopped, join("the machine was restarted; requorum did not stop it", st.LastError)
	}
	return planner.ServiceStopped, join("its supervisor and etcd have died; requorum did not stop it", st.LastError)
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + "; before: " + b
}
