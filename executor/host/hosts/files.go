package hosts

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// tries is how often a file is sent again that arrived damaged.
const tries = 2

// Restore implements host.Host: the snapshot goes from the machine that it lies on
// to all others at once, and each restores its members from its own copy, which is
// dropped after that.
func (h *Hosts) Restore(ctx context.Context, a planner.Restore, progress host.Progress) error {
	from := h.key(a.SnapshotHost)
	parts := part(h, a.Members, func(m planner.ClaimMember) planner.Place { return m.Place })
	names := slices.Sorted(maps.Keys(parts))
	tell := h.teller(progress, len(names))
	if len(names) == 1 && names[0] == from {
		return h.named(from, h.on(from).Restore(ctx, a, progress))
	}
	return h.each(names, func(name string) error {
		mine := a
		mine.Members = parts[name]
		if name == from {
			return h.named(name, h.on(name).Restore(ctx, mine, tell(name)))
		}
		return h.named(name, h.restoreFrom(ctx, from, name, mine, tell(name)))
	})
}

// restoreFrom brings the snapshot to another machine, and restores there what is
// not restored yet.
func (h *Hosts) restoreFrom(ctx context.Context, from, to string, a planner.Restore, tell host.Progress) error {
	there, err := h.restored(ctx, to, a)
	if err != nil || there {
		return err
	}
	f, err := h.on(from).Describe(ctx, a.Snapshot)
	if err != nil {
		return h.named(from, fmt.Errorf("the snapshot: %w", err))
	}
	if a, err = recorded(a, f.Record); err != nil {
		return err
	}
	in := host.Incoming{Key: "snapshot-" + a.SHA256, Size: f.Size}
	if a.SHA256 == "" {
		in.Key += fmt.Sprint(f.Size)
	}
	for _, m := range a.Members {
		in.Places = append(in.Places, m.Place)
	}
	if a.Snapshot, err = h.send(ctx, from, a.Snapshot, to, in, tell); err != nil {
		return err
	}
	a.SnapshotHost = ""
	if err := h.on(to).Restore(ctx, a, tell); err != nil {
		return err // what was sent stays: it is gone on with
	}
	return h.on(to).Drop(ctx, in)
}

// restored reports whether all of it is staged or in place already.
func (h *Hosts) restored(ctx context.Context, name string, a planner.Restore) (bool, error) {
	var places []planner.Place
	for _, m := range a.Members {
		places = append(places, m.Place)
	}
	facts, err := h.on(name).Observe(ctx, places)
	if err != nil {
		return false, err
	}
	for _, m := range a.Members {
		d := facts[m.Name].Data
		if !d.Known() {
			return false, fmt.Errorf("%s: %s", m.Name, d.Why)
		}
		p := d.Value.Provenance
		if p == nil || p.Token != m.Provenance.Token {
			return false, nil
		}
		inPlace := d.Value.State == planner.DirPresent && d.Value.ProvenanceAgrees
		if d.Value.Staged != m.Provenance.Token && !inPlace {
			return false, nil
		}
	}
	return true, nil
}

// recorded enters what a recovery wrote down about its snapshot, which no plan can
// know, so that another machine needs no record.
func recorded(a planner.Restore, record []byte) (planner.Restore, error) {
	if !a.Recovered {
		return a, nil
	}
	var r struct {
		SHA256   string `json:"sha256"`
		Revision int64  `json:"revision"`
	}
	if err := json.Unmarshal(record, &r); err != nil || r.SHA256 == "" {
		return a, fmt.Errorf("the record of the recovered snapshot %s can't be read (%v)", a.Snapshot, err)
	}
	a.Recovered, a.SHA256 = false, r.SHA256
	a.Members = slices.Clone(a.Members)
	for i := range a.Members {
		a.Members[i].Provenance.SHA256, a.Members[i].Provenance.Revision = r.SHA256, r.Revision
	}
	return a, nil
}

// send brings a file from one machine to another, whole and compared.
func (h *Hosts) send(ctx context.Context, from, path, to string, in host.Incoming, tell host.Progress) (string, error) {
	var at string
	var err error
	for range tries {
		at, err = h.on(to).Take(ctx, in, func(begin int64, w io.Writer) (string, error) {
			return h.on(from).Give(ctx, path, begin, &counted{w: w, done: begin, total: in.Size, tell: tell})
		})
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "is not what was sent") {
			break
		}
	}
	return at, err
}

// counted tells how much was sent.
type counted struct {
	w           io.Writer
	done, total int64
	tell        host.Progress
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.done += int64(n)
	if c.tell != nil {
		c.tell("send the snapshot", c.done, c.total)
	}
	return n, err
}

// Deliver implements host.Several.
func (h *Hosts) Deliver(ctx context.Context, path string, in host.Incoming, progress host.Progress) (string, error) {
	f, err := h.here.Describe(ctx, path)
	if err != nil {
		return "", err
	}
	in.Size = f.Size
	if in.Key == "" {
		in.Key = filepath.Base(path)
	}
	return h.send(ctx, "", path, h.key(in.Places[0].Host), in, progress)
}
