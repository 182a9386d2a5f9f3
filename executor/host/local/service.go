package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Start implements host.Host. A member that runs, with whatever settings, is
// left alone; the new ones take effect at its next start.
// None is started where one belongs to another cluster.
func (d *Driver) Start(ctx context.Context, members []planner.StartMember) (err error) {
	ctx, end, err := d.under(ctx, placesOf(members)...)
	if err != nil {
		return err
	}
	defer end(&err)
	for _, m := range members {
		if err := claimedBy(m.Place, m.Cluster); err != nil {
			return err
		}
	}
	return each(len(members), func(i int) error {
		m := members[i]
		l, err := layout(m.Place)
		if err != nil {
			return err
		}
		if text := l.FenceText(); text != "" && !m.Bootstrap {
			return fmt.Errorf("%s: not started: it is fenced: %s", m.Name, strings.TrimSpace(text))
		}
		cfg, prov := config(m, l)
		switch {
		case prov == nil && m.Bootstrap:
			return fmt.Errorf("%s: not started: its new identity was not recorded first", m.Name)
		case prov != nil && is(l.DataDir, l.WALDir, prov):
			// What an Install left that was killed after its last rename.
			if err := tidy(l); err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
		}
		if err := goOn(ctx); err != nil {
			return fmt.Errorf("%s: not started: %w", m.Name, err)
		}
		return d.keeper(m.Place, l).start(ctx, m, cfg)
	})
}

// claimedBy refuses a place whose service another cluster's file installed.
func claimedBy(p planner.Place, cluster string) error {
	l, err := layout(p)
	if err != nil {
		return err
	}
	if err := process.ClaimedBy(l, cluster); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// config is what a member's supervisor is to run, under its own token where the
// record is of this identity.
func config(m planner.StartMember, l host.Layout) (cfg process.Config, prov *planner.Provenance) {
	cfg = process.Config{
		Name: m.Name, Cluster: m.Cluster, DataDir: l.DataDir, WALDir: l.WALDir, Binary: m.Binary,
		Args: m.Args, Carried: m.Carried, ClusterID: m.ClusterID, MemberID: m.MemberID, Bootstrap: m.Bootstrap,
	}
	if p, err := readProvenance(l); err == nil && p.ClusterID == m.ClusterID && p.MemberID == m.MemberID {
		cfg.Token, prov = p.Token, p
	}
	return cfg, prov
}

// Adopt implements host.Host.
func (d *Driver) Adopt(ctx context.Context, members []planner.AdoptMember) (err error) {
	ctx, end, err := d.under(ctx, placesOf(members)...)
	if err != nil {
		return err
	}
	defer end(&err)
	for _, m := range members {
		if err := claimedBy(m.Place, m.Cluster); err != nil {
			return err
		}
	}
	return each(len(members), func(i int) error {
		m := members[i]
		l, err := layout(m.Place)
		if err == nil {
			cfg, _ := config(m.StartMember, l)
			err = d.keeper(m.Place, l).adopt(ctx, m, cfg)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		return nil
	})
}

// stopStagger is how long one member may take before the next one is stopped
// too.
const stopStagger = 2 * time.Second

// Stop implements host.Host. Members are stopped one after the other, for a
// leader that is stopped together with its followers waits seven seconds for one
// of them to take over (etcdserver TryTransferLeadershipOnShutdown); one that
// takes long does not hold up the rest. None is stopped where one belongs to
// another cluster.
func (d *Driver) Stop(ctx context.Context, cluster string, members []planner.StopMember) (err error) {
	ctx, end, err := d.under(ctx, placesOf(members)...)
	if err != nil {
		return err
	}
	defer end(&err)
	for _, m := range members {
		if cluster == "" {
			continue
		}
		if err := claimedBy(m.Place, cluster); err != nil {
			return err
		}
	}
	one := func(m planner.StopMember) error {
		if err := goOn(ctx); err != nil {
			return fmt.Errorf("%s: not stopped: %w", m.Name, err)
		}
		if err := d.hasNext(ctx, m.Next); err != nil {
			return fmt.Errorf("%s: not stopped: %w", m.Name, err)
		}
		if err := d.stop(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		return nil
	}
	if followers, leaders, ok := d.closedMembers(ctx, members); ok {
		return errors.Join(
			each(len(followers), func(i int) error { return one(followers[i]) }),
			each(len(leaders), func(i int) error { return one(leaders[i]) }))
	}
	return staggered(len(members), func(i int) error { return one(members[i]) })
}

// hasNext says why a member can't be started with its next etcd any more; nil where it can.
func (d *Driver) hasNext(ctx context.Context, next *planner.Binary) error {
	if next == nil {
		return nil
	}
	switch b := d.Binary(ctx, next.Path); {
	case !b.Known():
		return fmt.Errorf("its next etcd can't be had: %s", b.Why)
	case b.Value.Version != next.Version:
		return fmt.Errorf("its next etcd was %s when the plan was made, and %s is %s now", next.Version, next.Path, b.Value.Version)
	}
	return nil
}

// closedMembers tells those that lead from the others, where all that run have closed
// client listeners: there is nobody to be served without a gap, so that the followers
// are stopped all at once, and the leader, which has nobody left to hand over to, does
// not wait for one.
func (d *Driver) closedMembers(ctx context.Context, members []planner.StopMember) (followers, leaders []planner.StopMember, ok bool) {
	for _, m := range members {
		l, err := layout(m.Place)
		if err != nil || m.PID != 0 {
			return nil, nil, false
		}
		s := d.keeper(m.Place, l).status(ctx, 0)
		if !s.Known() || !planner.Closed(s.Value.Args) {
			return nil, nil, false
		}
		here := m.Place
		here.Host = ""
		if etcd.Leads(ctx, planner.ClosedURL(here, l.Base()), etcd.Access{}) {
			leaders = append(leaders, m)
		} else {
			followers = append(followers, m)
		}
	}
	return followers, leaders, len(leaders) > 0
}

// staggered is each, one after the other unless one takes long.
func staggered(n int, do func(i int) error) error {
	ended := make([]chan struct{}, n)
	for i := range ended {
		ended[i] = make(chan struct{})
	}
	return each(n, func(i int) error {
		defer close(ended[i])
		for _, before := range ended[:i] {
			select {
			case <-before:
			case <-time.After(stopStagger):
			}
		}
		return do(i)
	})
}

// stop ends the member's own service first: an adopted process is its child.
func (d *Driver) stop(ctx context.Context, m planner.StopMember) error {
	l, err := layout(m.Place)
	if err != nil {
		return err
	}
	k := d.keeperOnRecord(m.Place, l)
	u, isUnit := k.(systemdUnit)
	gone := isUnit && (m.Removed || m.Unit == "") // the file has the member no longer
	if gone && u.Elsewhere(ctx) {                 // the unit has become another member's
		k, gone = supervisor{l, d.self}, false
	}
	if err := k.stop(ctx); err != nil {
		return err
	}
	if gone {
		if err := u.Disable(ctx); err != nil {
			return err
		}
	}
	if m.PID == 0 {
		return err
	}
	return process.StopForeign(ctx, m.PID, m.Start, l)
}
