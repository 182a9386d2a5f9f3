// Package hosts is all machines of a file as one host.Host: it parts each request
// by Place.Host, has all machines do theirs at the same time, and puts what they
// say together. A machine that can't be reached gives unknown facts, with the
// reason, and holds up nobody else.
package hosts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/agent"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/executor/host/ssh"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// Options of Hosts.
type Options struct {
	Version   string
	NoInstall bool
	// Limit is how long a machine may say nothing before it counts as unreachable.
	Limit time.Duration
	// Self is the path of requorum; "" is this program.
	Self string
	// Placed is told that requorum was put on a machine, and where; it may be nil.
	Placed func(host, path string)
}

// Hosts implements host.Several.
type Hosts struct {
	cluster *spec.Cluster
	here    *local.Driver
	version string
	remote  map[string]*agent.Remote // by the host's name
	limit   time.Duration            // for a machine's locks; 0 is lockPatience

	mu       sync.Mutex
	unlocked map[string]error // machines that are no part of the lock that was taken
}

var _ host.Several = (*Hosts)(nil)

// New gives the machines of the file. Nothing is connected yet.
func New(c *spec.Cluster, o Options) *Hosts {
	h := &Hosts{cluster: c, here: local.New(local.Options{Self: o.Self, NeedLock: true}), version: o.Version, remote: map[string]*agent.Remote{}}
	program := ssh.NewProgram(o.Self)
	for _, x := range c.Hosts {
		if x.Access != spec.AccessSSH {
			continue
		}
		so := ssh.Options{Address: x.Address, Version: o.Version, Program: program, NoInstall: o.NoInstall, Limit: o.Limit}
		if x.SSH != nil {
			so.SSH = *x.SSH
		}
		if o.Placed != nil {
			so.Placed = func(path string) { o.Placed(x.Name, path) }
		}
		h.remote[x.Name] = agent.NewRemote(agent.Options{
			Name:    x.Name,
			Connect: func(ctx context.Context) (*agent.Client, error) { return ssh.Connect(ctx, so) },
		})
	}
	return h
}

// Close ends all connections.
func (h *Hosts) Close() error {
	return h.each(slices.Sorted(maps.Keys(h.remote)), func(name string) error { return h.remote[name].Close() })
}

// machine is one that can be asked.
type machine interface {
	host.Host
	host.Files
}

// On implements host.Several.
func (h *Hosts) On(name string) host.Host { return h.on(name) }

func (h *Hosts) on(name string) machine {
	x, ok := h.cluster.Host(name)
	switch {
	case ok && x.Access == spec.AccessLocal:
		return h.here
	case h.remote[name] != nil:
		return h.remote[name]
	}
	return &absent{why: manual(name, ok)}
}

func manual(name string, known bool) error {
	if !known {
		return fmt.Errorf("the file has no host %q", name)
	}
	return fmt.Errorf("%s is a manual host: requorum has no access to it", name)
}

// key is the same for hosts that are reached in the same way.
func (h *Hosts) key(name string) string {
	if x, ok := h.cluster.Host(name); ok && x.Access == spec.AccessLocal {
		return ""
	}
	return name
}

// each runs do for all names at once and joins the errors.
func (h *Hosts) each(names []string, do func(name string) error) error {
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = do(name) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// part sorts what is asked for by machine.
func part[T any](h *Hosts, all []T, place func(T) planner.Place) map[string][]T {
	out := map[string][]T{}
	for _, x := range all {
		key := h.key(place(x).Host)
		out[key] = append(out[key], x)
	}
	return out
}

// act has each machine do its part.
func act[T any](h *Hosts, all []T, place func(T) planner.Place, do func(m machine, mine []T) error) error {
	parts := part(h, all, place)
	return h.each(slices.Sorted(maps.Keys(parts)), func(name string) error {
		return h.named(name, do(h.on(name), parts[name]))
	})
}

// named says on which machine something went wrong, where its own words do not.
func (h *Hosts) named(name string, err error) error {
	var unknown *host.UnknownError
	if err == nil || name == "" || errors.As(err, &unknown) || strings.HasPrefix(err.Error(), name+": ") {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Observe implements host.Host.
func (h *Hosts) Observe(ctx context.Context, places []planner.Place) (map[string]host.Facts, error) {
	out := map[string]host.Facts{}
	var mu sync.Mutex
	parts := part(h, places, func(p planner.Place) planner.Place { return p })
	err := h.each(slices.Sorted(maps.Keys(parts)), func(name string) error {
		h.mu.Lock()
		no := h.unlocked[name]
		h.mu.Unlock()
		facts, err := map[string]host.Facts(nil), error(nil)
		if no != nil { // come back since, perhaps: nothing can be done there without its lock
			facts = agent.Unknown(parts[name], "its lock could not be taken: "+no.Error())
		} else {
			facts, err = h.on(name).Observe(ctx, parts[name])
		}
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(out, facts)
		return err
	})
	for name, why := range h.shared(places) {
		maps.Copy(out, agent.Unknown([]planner.Place{{Name: name}}, why))
	}
	return out, err
}

// Etcds implements host.Host: each is said to run on the host that was asked, once
// where two are the same machine.
func (h *Hosts) Etcds(ctx context.Context) []planner.Foreign {
	names := h.names()
	found := make([][]planner.Foreign, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { found[i] = h.on(name).Etcds(ctx) })
	}
	wg.Wait()
	var out []planner.Foreign
	seen := map[string]bool{}
	for i, name := range names {
		id := h.id(name)
		if id != "" && seen[id] {
			continue
		}
		seen[id] = true
		for _, f := range found[i] {
			f.Host = name
			out = append(out, f)
		}
	}
	return out
}

// names are the machines that members live on, this one first where it is one.
func (h *Hosts) names() []string {
	keys := map[string]bool{}
	for _, m := range h.cluster.Members {
		keys[h.key(m.Host)] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

// Prove implements host.Host.
func (h *Hosts) Prove(ctx context.Context, places []planner.Place, progress host.Progress) (map[string]string, error) {
	out := map[string]string{}
	var mu sync.Mutex
	parts := part(h, places, func(p planner.Place) planner.Place { return p })
	tell := h.teller(progress, len(parts))
	_ = h.each(slices.Sorted(maps.Keys(parts)), func(name string) error {
		wrong, err := h.on(name).Prove(ctx, parts[name], tell(name))
		mu.Lock()
		defer mu.Unlock()
		if maps.Copy(out, wrong); err != nil && ctx.Err() == nil {
			for _, p := range parts[name] { // what can't be read through can't be relied on
				out[p.Name] = "it was not read to its end: " + err.Error()
			}
		}
		return nil
	})
	return out, ctx.Err()
}

// Binary implements host.Host for this machine; On has it for the others.
func (h *Hosts) Binary(ctx context.Context, path string) planner.Fact[planner.Binary] {
	return h.here.Binary(ctx, path)
}

// Keys implements host.Host.
func (h *Hosts) Keys(ctx context.Context, asks []host.KeyAsk) map[string]planner.Fact[host.Keys] {
	out := host.UnknownKeys(asks, "not asked")
	var mu sync.Mutex
	parts := part(h, asks, func(a host.KeyAsk) planner.Place { return a.Place })
	_ = h.each(slices.Sorted(maps.Keys(parts)), func(name string) error {
		keys := h.on(name).Keys(ctx, parts[name])
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(out, keys)
		return nil
	})
	return out
}

// Claim implements host.Host.
func (h *Hosts) Claim(ctx context.Context, a planner.Claim) error {
	return act(h, a.Members, func(m planner.ClaimMember) planner.Place { return m.Place }, func(x machine, mine []planner.ClaimMember) error {
		return x.Claim(ctx, planner.Claim{Members: mine})
	})
}

// Trial implements host.Host.
func (h *Hosts) Trial(ctx context.Context, a planner.Trial, progress host.Progress) error {
	return h.named(h.key(a.Host), h.on(a.Host).Trial(ctx, a, progress))
}

// Install implements host.Host.
func (h *Hosts) Install(ctx context.Context, a planner.Install) error {
	return act(h, a.Members, func(m planner.InstallMember) planner.Place { return m.Place }, func(x machine, mine []planner.InstallMember) error {
		return x.Install(ctx, planner.Install{Token: a.Token, Members: mine})
	})
}

// Start implements host.Host.
func (h *Hosts) Start(ctx context.Context, members []planner.StartMember) error {
	return act(h, members, func(m planner.StartMember) planner.Place { return m.Place }, func(x machine, mine []planner.StartMember) error {
		return x.Start(ctx, mine)
	})
}

// Adopt implements host.Host.
func (h *Hosts) Adopt(ctx context.Context, members []planner.AdoptMember) error {
	return act(h, members, func(m planner.AdoptMember) planner.Place { return m.Place }, func(x machine, mine []planner.AdoptMember) error {
		return x.Adopt(ctx, mine)
	})
}

// Stop implements host.Host. Machines are stopped one after the other, unless one
// takes long: a leader that is stopped together with its followers waits for one of
// them to take over.
func (h *Hosts) Stop(ctx context.Context, cluster string, members []planner.StopMember) error {
	parts := part(h, members, func(m planner.StopMember) planner.Place { return m.Place })
	names := slices.Sorted(maps.Keys(parts))
	ended := map[string]chan struct{}{}
	for _, name := range names {
		ended[name] = make(chan struct{})
	}
	return h.each(names, func(name string) error {
		defer close(ended[name])
		for _, before := range names[:slices.Index(names, name)] {
			select {
			case <-ended[before]:
			case <-time.After(stopStagger):
			}
		}
		return h.named(name, h.on(name).Stop(ctx, cluster, parts[name]))
	})
}

// stopStagger is how long one machine may take before the next one is stopped too.
const stopStagger = 2 * time.Second

// SetAside implements host.Host.
func (h *Hosts) SetAside(ctx context.Context, a planner.SetAside) error {
	return h.named(h.key(a.Host), h.on(a.Host).SetAside(ctx, a))
}

// Fence implements host.Host.
func (h *Hosts) Fence(ctx context.Context, a planner.Fence) error {
	// A machine may have both.
	fences := part(h, a.Members, func(m planner.FenceMember) planner.Place { return m.Place })
	bars := part(h, a.Vacant, func(p planner.Place) planner.Place { return p })
	names := slices.Collect(maps.Keys(fences))
	for name := range bars {
		if _, ok := fences[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return h.each(names, func(name string) error {
		return h.named(name, h.on(name).Fence(ctx, planner.Fence{Cluster: a.Cluster, Members: fences[name], Vacant: bars[name]}))
	})
}

// Unfence implements host.Host.
func (h *Hosts) Unfence(ctx context.Context, a planner.Unfence) error {
	return act(h, a.Members, func(m planner.FenceMember) planner.Place { return m.Place }, func(x machine, mine []planner.FenceMember) error {
		return x.Unfence(ctx, planner.Unfence{Members: mine})
	})
}

// Recover implements host.Host.
func (h *Hosts) Recover(ctx context.Context, a planner.Recover, progress host.Progress) error {
	return h.named(h.key(a.Host), h.on(a.Host).Recover(ctx, a, progress))
}

// teller gives each machine a progress of its own: with more than one at work, it
// says which.
func (h *Hosts) teller(progress host.Progress, n int) func(name string) host.Progress {
	var mu sync.Mutex
	return func(name string) host.Progress {
		if progress == nil {
			return nil
		}
		return func(what string, done, total int64) {
			mu.Lock()
			defer mu.Unlock()
			if n > 1 && name != "" {
				what = name + ": " + what
			}
			progress(what, done, total)
		}
	}
}
