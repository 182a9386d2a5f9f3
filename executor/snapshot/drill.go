package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/requorum/requorum/executor/snapshot/throwaway"
	"github.com/requorum/requorum/planner"
)

// DrillRequest is one snapshot to be restored and read for the sake of it.
type DrillRequest struct {
	Snapshot string
	Want     Want
	// Command is the beginning of etcd's command line, as in TrialRequest.
	Command []string
	// Members is how many the throwaway cluster has.
	Members int
	// Scratch is a folder to make for it all, and to remove with it. It must not
	// exist.
	Scratch string
}

// DrillResult is what a drill proved. After an error it has what was reached.
type DrillResult struct {
	Snapshot planner.SnapshotObservation `json:"snapshot"`
	Version  string                      `json:"etcd"` // of the etcd that ran
	Members  int                         `json:"members"`
	// Revision and Keys are what every member served, and Digest that of all
	// keys with their values, revisions, versions and leases.
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"`
	Bytes    int64  `json:"bytes"` // that were read from one member
	Digest   string `json:"digest"`
	HashKV   uint32 `json:"hash_kv"`
	// HashOfFile says that HashKV is what the file's records give; it can't be
	// computed where the snapshot was taken in the midst of a compaction.
	HashOfFile bool     `json:"hash_kv_of_file"`
	Leases     int      `json:"leases"`
	Auth       bool     `json:"auth_enabled"`
	Users      int      `json:"users"`
	Roles      int      `json:"roles"`
	Alarms     []string `json:"alarms,omitempty"`

	Phases []Phase       `json:"phases"`
	Took   time.Duration `json:"-"`
}

// Phase is a part of a drill and the time it took.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// drillSpare is what a drill leaves free on its disk, and drillPerMember what a
// member takes beside its db: the log that etcd preallocates, and some more.
const (
	drillSpare     = 128 << 20
	drillPerMember = 80 << 20
)

// Drill restores a snapshot to a throwaway cluster on loopback, reads every key
// back through etcd's API, and compares what it reads with what the file holds.
// It stops and removes everything it made, also on an error and when ctx ends;
// the etcds die with this process in any case.
//
// Three things differ from a restore in earnest, so that all can be read: leases
// last an hour at least, authentication is off (the users and roles are there),
// and alarms that came along are cleared.
//
// Refusal tells why a file, or the etcd for it, is not taken.
func Drill(ctx context.Context, r DrillRequest, progress func(what string, done, total int64)) (res DrillResult, err error) {
	d := &drill{DrillRequest: r, res: &res, tell: Progress(progress)}
	res.Members = r.Members
	began := time.Now()
	defer func() { res.Took = time.Since(began) }()
	if err := d.phase("prove", func() error { return d.prove(ctx) }); err != nil {
		return res, err
	}
	if err := os.Mkdir(r.Scratch, 0o700); err != nil {
		return res, err
	}
	// All in it is of the drill's own making.
	defer func() {
		rerr := d.phase("remove", func() error {
			d.stop()
			return os.RemoveAll(r.Scratch)
		})
		if rerr != nil {
			err = errors.Join(err, fmt.Errorf("removing the throwaway cluster: %w", rerr))
		}
	}()
	for _, p := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"restore", d.restore}, {"start", d.start}, {"read", d.read}, {"hash", d.hash},
	} {
		if err := d.phase(p.name, func() error { return p.do(ctx) }); err != nil {
			if ctx.Err() != nil {
				return res, ctx.Err()
			}
			return res, d.withLastWords(err)
		}
	}
	return res, nil
}

type drill struct {
	DrillRequest
	res     *DrillResult
	tell    Progress
	want    *expectation
	members []drillMember
}

type drillMember struct {
	RestoreMember
	client, peer string
	process      *throwaway.Child
	cli          *clientv3.Client
}

func (d *drill) phase(name string, do func() error) error {
	began := time.Now()
	err := do()
	d.res.Phases = append(d.res.Phases, Phase{name, time.Since(began).Seconds()})
	return err
}

// prove looks at all that can be known before anything is made.
func (d *drill) prove(ctx context.Context) error {
	obs, _, err := prove(ctx, d.Snapshot, d.Want, nil, d.tell)
	d.res.Snapshot = obs
	if err != nil {
		return err
	}
	if d.res.Version, err = etcdVersion(ctx, d.Command); err != nil {
		return err
	}
	if r := planner.RefuseServer(obs.Version, d.res.Version); r != nil {
		return &problem{r.Code, r.Detail}
	}
	var st unix.Statfs_t
	parent := filepath.Dir(filepath.Clean(d.Scratch))
	if err := unix.Statfs(parent, &st); err != nil {
		return fmt.Errorf("free space at %s: %w", parent, err)
	}
	need := int64(d.Members)*(obs.Size+drillPerMember) + drillSpare
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return refuse(planner.CodeNoRoom, "%s has %d MiB free; the drill needs %d MiB for %d members", parent, free>>20, need>>20, d.Members)
	}
	d.want, err = expectationOf(ctx, d.Snapshot, obs.Size, d.tell)
	return err
}

func (d *drill) restore(ctx context.Context) error {
	if err := d.plan(); err != nil {
		return err
	}
	r := RestoreRequest{Snapshot: d.Snapshot, SHA256: d.res.Snapshot.SHA256, SkipHashCheck: d.Want.SkipHashCheck}
	for _, m := range d.members {
		r.Members = append(r.Members, m.RestoreMember)
	}
	if err := Restore(ctx, r, d.tell); err != nil {
		return err
	}
	for _, m := range d.members {
		if err := openForReading(m.OutDataDir); err != nil {
			return fmt.Errorf("preparing %s to be read: %w", m.OutDataDir, err)
		}
	}
	return nil
}

// start runs all members and waits until each can be read.
func (d *drill) start(ctx context.Context) error {
	d.tell.tell("starting etcd", 0, int64(len(d.members)))
	for i := range d.members {
		if err := d.members[i].start(d.Command); err != nil {
			return err
		}
	}
	ctx, end := d.whileAllRun(ctx)
	defer end()
	for i, m := range d.members {
		if err := waitReadable(ctx, m.cli); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		st, err := m.cli.Status(ctx, m.client)
		if err != nil {
			return fmt.Errorf("%s: status: %w", m.Name, err)
		}
		if len(st.Errors) > 0 {
			return fmt.Errorf("%s serves with errors: %s", m.Name, strings.Join(st.Errors, "; "))
		}
		d.res.Version = st.Version
		d.tell.tell("starting etcd", int64(i+1), int64(len(d.members)))
	}
	return nil
}

func (m *drillMember) start(command []string) error {
	dir := m.OutDataDir + ".run"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	argv := append(slices.Clone(command),
		"--name", m.Name, "--data-dir", m.OutDataDir,
		"--listen-client-urls", m.client, "--advertise-client-urls", m.client,
		"--listen-peer-urls", m.peer, "--initial-advertise-peer-urls", m.peer,
		"--initial-cluster", m.InitialCluster, "--initial-cluster-token", m.Token,
		"--logger", "zap", "--log-outputs", "stderr", "--log-level", "info")
	var err error
	if m.process, err = throwaway.Start(argv, dir); err != nil {
		return err
	}
	m.cli, err = drillClient(m.client)
	return err
}

// whileAllRun ends ctx when one of the etcds ends.
func (d *drill) whileAllRun(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	for _, m := range d.members {
		go func() {
			select {
			case <-m.process.Done():
				cancel(fmt.Errorf("the etcd of %s ended by itself (%s)", m.Name, m.process.How()))
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// stop ends every etcd.
func (d *drill) stop() {
	done := make(chan struct{})
	running := 0
	for _, m := range d.members {
		if m.cli != nil {
			_ = m.cli.Close()
		}
		if m.process != nil {
			running++
			go func() {
				m.process.Stop(0) // nothing of it is kept
				done <- struct{}{}
			}()
		}
	}
	for range running {
		<-done
	}
}

// withLastWords adds what the etcds said last.
func (d *drill) withLastWords(err error) error {
	if Refusal(err) != nil {
		return err
	}
	for _, m := range d.members {
		if m.process == nil {
			continue
		}
		select {
		case <-m.process.Done():
			if words := m.process.LastWords(); words != "" {
				return fmt.Errorf("%w; the etcd of %s said: %s", err, m.Name, words)
			}
		default:
		}
	}
	return err
}
