package local

import (
	"context"
	"fmt"
	"time"

	"github.com/requorum/requorum/executor/host/process"
	"github.com/requorum/requorum/planner"
)

// Start implements host.Host. A member that runs, with whatever settings, is
// left alone; the new ones take effect at its next start.
// None is started where one belongs to another cluster.
func (d *Driver) Start(ctx context.Context, members []planner.StartMember) error {
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
		cfg := process.Config{
			Name: m.Name, Cluster: m.Cluster, DataDir: l.DataDir, WALDir: l.WALDir, Binary: m.Binary, Args: m.Args,
			ClusterID: m.ClusterID, MemberID: m.MemberID, Bootstrap: m.Bootstrap,
		}
		// Its own token, where the record is of this identity.
		if p, err := readProvenance(l); err == nil && p.ClusterID == m.ClusterID && p.MemberID == m.MemberID {
			cfg.Token = p.Token
			// What an Install left that was killed after its last rename.
			if is(l.DataDir, l.WALDir, p) {
				if err := tidy(l); err != nil {
					return fmt.Errorf("%s: %w", m.Name, err)
				}
			}
		} else if m.Bootstrap {
			return fmt.Errorf("%s: not started: its new identity was not recorded first", m.Name)
		}
		_, err = process.Start(ctx, d.self, cfg, l)
		return err
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

// Adopt implements host.Host.
func (d *Driver) Adopt(ctx context.Context, places []planner.Place) error {
	return each(len(places), func(i int) error {
		l, err := layout(places[i])
		if err == nil {
			err = process.Adopt(ctx, d.self, l)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", places[i].Name, err)
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
func (d *Driver) Stop(ctx context.Context, cluster string, places []planner.Place) error {
	for _, p := range places {
		if cluster == "" {
			continue
		}
		if err := claimedBy(p, cluster); err != nil {
			return err
		}
	}
	ended := make([]chan struct{}, len(places))
	for i := range ended {
		ended[i] = make(chan struct{})
	}
	return each(len(places), func(i int) error {
		defer close(ended[i])
		for _, before := range ended[:i] {
			select {
			case <-before:
			case <-time.After(stopStagger):
			}
		}
		l, err := layout(places[i])
		if err == nil {
			err = process.Stop(ctx, l)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", places[i].Name, err)
		}
		return nil
	})
}
