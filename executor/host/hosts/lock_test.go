package hosts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/agent"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// hanging is a machine, the real one, whose disk hangs for whoever takes a lock, or
// looks at one, until the test lets go.
type hanging struct {
	agent.Machine
	mu          sync.Mutex
	look, write chan struct{} // nil for a disk that does not hang
	took        []host.Lock
}

func (m *hanging) Locks(ctx context.Context, places []planner.Place) (map[string]host.LockState, error) {
	if m.look != nil {
		<-m.look
	}
	return m.Machine.Locks(ctx, places)
}

func (m *hanging) Lock(ctx context.Context, places []planner.Place, h host.Holder) (host.Lock, error) {
	if m.write != nil {
		<-m.write
	}
	k, err := m.Machine.Lock(context.WithoutCancel(ctx), places, h)
	if err == nil {
		m.mu.Lock()
		m.took = append(m.took, k)
		m.mu.Unlock()
	}
	return k, err
}

// machines are n of them, h1 and so on, each behind an agent; connect says how long a
// connection to one takes, and whether there is one at all.
func machines(t *testing.T, n int, connect func(i int) error) (*Hosts, []*hanging, []planner.Place) {
	t.Helper()
	c := &spec.Cluster{}
	h := &Hosts{cluster: c, here: local.New(local.Options{NeedLock: true}), version: "v", remote: map[string]*agent.Remote{}, limit: time.Second}
	var all []*hanging
	var places []planner.Place
	dir := t.TempDir()
	for i := range n {
		name := fmt.Sprintf("h%d", i+1)
		m := &hanging{Machine: local.New(local.Options{})}
		all = append(all, m)
		c.Hosts = append(c.Hosts, spec.Host{Name: name, Access: spec.AccessSSH})
		c.Members = append(c.Members, spec.Member{Name: "m" + name[1:], Host: name})
		places = append(places, planner.Place{Name: "m" + name[1:], Host: name, DataDir: filepath.Join(dir, name)})
		h.remote[name] = agent.NewRemote(agent.Options{Name: name, Connect: func(ctx context.Context) (*agent.Client, error) {
			if err := connect(i); err != nil {
				return nil, err
			}
			toAgent, in := io.Pipe()
			fromAgent, out := io.Pipe()
			go func() { _ = agent.Serve(context.Background(), m, "v", toAgent, out) }()
			return agent.Dial(ctx, "v", fromAgent, in, func() { _ = in.Close(); _ = out.Close() })
		}})
	}
	t.Cleanup(func() { _ = h.Close() })
	return h, all, places
}

var me = host.Holder{Who: "ann@here", PID: 7, Operation: "apply", Since: "2026-01-02T03:04:05Z"}

// Machines that are dead are waited for all at once.
func TestDeadMachinesTogether(t *testing.T) {
	const slow = 700 * time.Millisecond
	h, _, places := machines(t, 5, func(i int) error {
		if i < 2 {
			time.Sleep(slow)
			return errors.New("no route to it")
		}
		return nil
	})
	began := time.Now()
	k, err := h.Lock(t.Context(), places, me)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Release()
	if took := time.Since(began); took > 2*slow-100*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	if n := len(k.Epochs()); n != 3 {
		t.Errorf("%d locks were taken", n)
	}
}

// A machine whose disk hangs counts as one that can't be reached, whatever hangs
// there; a lock that it gives after all is given back.
func TestHangingDisk(t *testing.T) {
	for name, hang := range map[string]func(m *hanging, c chan struct{}){
		"reads":  func(m *hanging, c chan struct{}) { m.look, m.write = c, c },
		"writes": func(m *hanging, c chan struct{}) { m.write = c },
	} {
		for at, n := range map[int]int{0: 3, 2: 3, 1: 2} {
			t.Run(fmt.Sprintf("%s, machine %d of %d", name, at+1, n), func(t *testing.T) {
				h, all, places := machines(t, n, func(int) error { return nil })
				c := make(chan struct{})
				hang(all[at], c)
				let := sync.OnceFunc(func() { close(c) })
				t.Cleanup(let)
				began := time.Now()
				k, err := h.Lock(t.Context(), places, me)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("it took %s", took)
				}
				var few *QuorumError
				if n == 2 { // one of two is no majority
					if !errors.As(err, &few) || !strings.Contains(err.Error(), "a disk that hangs") {
						t.Fatal(err)
					}
				} else if err != nil {
					t.Fatal(err)
				} else {
					if _, ours := k.Epochs()[places[at].Name]; ours || len(k.Epochs()) != n-1 {
						t.Errorf("locked: %v", k.Epochs())
					}
					// Nothing is known of that machine as long as this lock is held.
					facts, err := h.Observe(t.Context(), places)
					if err != nil || facts[places[at].Name].Data.Known() || !strings.Contains(facts[places[at].Name].Data.Why, "a disk that hangs") {
						t.Errorf("%+v %v", facts[places[at].Name].Data, err)
					}
					defer k.Release()
				}
				let()
				if name == "reads" {
					return // nobody asked for its lock
				}
				for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
					states, err := all[at].Machine.Locks(t.Context(), places[at:at+1])
					if s := states[places[at].Name]; err == nil && s.Held.Known() && !s.Held.Value && took(all[at]) == 1 {
						break
					} else if time.Now().After(end) {
						t.Fatalf("the late lock: %+v %v, taken %d times", s, err, took(all[at]))
					}
				}
			})
		}
	}
}

func took(m *hanging) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.took)
}

// The first machine that can be had decides between two who begin at once.
func TestTwoAtOnce(t *testing.T) {
	dir := t.TempDir()
	a, _, places := machines(t, 3, func(int) error { return nil })
	b, _, _ := machines(t, 3, func(int) error { return nil })
	for i := range places {
		places[i].DataDir = filepath.Join(dir, places[i].Name)
	}
	for range 20 {
		var wg sync.WaitGroup
		got, errs := make([]host.Lock, 2), make([]error, 2)
		for i, h := range []*Hosts{a, b} {
			wg.Go(func() { got[i], errs[i] = h.Lock(t.Context(), places, me) })
		}
		wg.Wait()
		i := slices.IndexFunc(errs, func(err error) bool { return err == nil })
		var locked *host.LockedError
		if i < 0 || !errors.As(errs[1-i], &locked) {
			t.Fatal(errs)
		}
		if err := got[i].Release(); err != nil {
			t.Fatal(err)
		}
	}
}
