package executor

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// ofMinor reports whether a version ("3.6.0", "3.6.16") is of a minor one ("3.6").
func ofMinor(version, minor string) bool {
	return version == minor || strings.HasPrefix(version, minor+".")
}

// notAt says why a member does not show the whole cluster to be at a minor version; ""
// where it does.
func (r *Runner) notAt(ctx context.Context, minor, name string, e planner.Endpoint) string {
	cluster := e.ClusterVersion
	if m, ok := r.Cluster.Member(name); ok && cluster == "" {
		cluster = etcd.PeerVersion(ctx, m.PeerURLs, r.Peer)
	}
	switch {
	case !ofMinor(e.Version, minor):
		return fmt.Sprintf("%s runs etcd %s, not %s yet", name, e.Version, minor)
	case !ofMinor(cluster, minor):
		return fmt.Sprintf("%s: the cluster is at version %s, not at %s yet", name, cmp.Or(cluster, "(not told)"), minor)
	case e.Downgrade != "":
		return fmt.Sprintf("%s: the downgrade to %s is still on", name, e.Downgrade)
	}
	return ""
}

// downgrade tells the cluster to go back, and waits until every member's database is one
// that the older etcd reads.
func (r *Runner) downgrade(ctx context.Context, a planner.Downgrade) error {
	if err := r.change(ctx, a.Endpoints, func(c etcd.Cluster) error { return c.EnableDowngrade(ctx, a.Version) }); err != nil {
		return err
	}
	return r.eachMember(ctx, a.Members, func(name string, e planner.Endpoint) string {
		switch {
		case ofMinor(e.Version, a.Version):
			return ""
		case !ofMinor(e.Downgrade, a.Version):
			return name + " does not know of it yet"
		case !ofMinor(e.ClusterVersion, a.Version):
			return fmt.Sprintf("%s: the cluster is at version %s, not at %s yet", name, cmp.Or(e.ClusterVersion, "(not told)"), a.Version)
		case !ofMinor(e.StorageVersion, a.Version):
			return fmt.Sprintf("%s's database is of %s, not of %s yet", name, cmp.Or(e.StorageVersion, "a version that is not told"), a.Version)
		}
		return ""
	})
}

// cancelDowngrade calls it off, and waits until no member says that it is on.
func (r *Runner) cancelDowngrade(ctx context.Context, a planner.CancelDowngrade) error {
	if err := r.change(ctx, a.Endpoints, func(c etcd.Cluster) error { return c.CancelDowngrade(ctx) }); err != nil {
		return err
	}
	return r.eachMember(ctx, a.Members, func(name string, e planner.Endpoint) string {
		if e.Downgrade != "" {
			return name + " says that it is on"
		}
		return ""
	})
}

// trimEntries are put into the log between two looks at the members' disks; trimMost is
// where it is given up: with so many etcd makes a snapshot in any of its versions, but for
// a --snapshot-count that somebody has raised.
const (
	trimEntries = 2500
	trimMost    = 500_000
)

// trimLog puts entries into the log that change nothing, until every member has made a
// snapshot behind those in the old format.
func (r *Runner) trimLog(ctx context.Context, a planner.TrimLog, progress host.Progress) error {
	for made := 0; ; made += trimEntries {
		waiting := ""
		seen, err := r.Host.Observe(ctx, a.Members)
		if err != nil {
			return err
		}
		for _, p := range a.Members {
			switch d := seen[p.Name].Data; {
			case !d.Known():
				return fmt.Errorf("%s's log can't be looked at: %s", p.Name, d.Why)
			case d.Value.OldEntry > 0:
				waiting = fmt.Sprintf("%s has entry #%d after its last snapshot", p.Name, d.Value.OldEntry)
			}
		}
		switch {
		case waiting == "":
			return nil
		case made >= trimMost:
			return fmt.Errorf("%s, and made none in %d entries: is --snapshot-count raised? Restart it with the usual one, and plan again", waiting, made)
		case ctx.Err() != nil:
			return timeUp(ctx, waiting)
		}
		if progress != nil {
			progress("entries that change nothing", int64(made), 0)
		}
		if r.waits != nil {
			r.waits(waiting)
		}
		if err := r.Lock.Held(ctx); err != nil {
			return fmt.Errorf("nothing more is done: %w", err)
		}
		if err := r.members(a.Endpoints).NudgeMany(ctx, trimEntries); err != nil {
			return err
		}
	}
}

// eachMember waits until nothing is missing of any of the members.
func (r *Runner) eachMember(ctx context.Context, names []string, missing func(string, planner.Endpoint) string) error {
	return r.pollWhileRunning(ctx, func() (string, error) {
		for _, name := range names {
			m, ok := r.Cluster.Member(name)
			if !ok {
				return "", fmt.Errorf("%s is not in the file", name)
			}
			e := etcd.Probe(ctx, m.ClientURLs, r.Client, probeLimit)
			if e.Reach != planner.ReachServing {
				return fmt.Sprintf("%s: %s", name, e.Reach), nil
			}
			if e.ClusterVersion == "" {
				e.ClusterVersion = etcd.PeerVersion(ctx, m.PeerURLs, r.Peer)
			}
			if why := missing(name, e); why != "" {
				return why, nil
			}
		}
		return "", nil
	})
}
