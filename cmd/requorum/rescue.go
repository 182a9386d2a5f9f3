package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
	"github.com/requorum/requorum/planner/rescue"
	"github.com/requorum/requorum/spec/load"
)

// rescuer is the rescue verb.
type rescuer struct {
	dirs []string
	out  string
	host host.Host
}

func newRescue(o *options) *cobra.Command {
	r := &rescuer{host: local.New(local.Options{})}
	cmd := &cobra.Command{
		Use:   "rescue [HOST…]",
		Short: "Write the file for a cluster whose file is lost, from its disks",
		Long: `Looks at the etcds that run on this machine and at the data directories named
with --data-dir, and writes the file that requorum plan takes: who the members
are, where their data lies, and, as comments, what nothing here could tell.

With --out the file is written, never over another, and the plan for it is
shown. Nothing else is changed, and no etcd is started or stopped.

HOST is this machine, so far.

Exit codes: 0 done, 1 error, 6 refused (no file can be made of this).`,
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd, o, args) },
	}
	cmd.Flags().StringArrayVar(&r.dirs, "data-dir", nil, "a data directory (DIR,WAL_DIR where its WAL lies elsewhere), or a folder with some in it: `DIR` (repeatable)")
	cmd.Flags().StringVar(&r.out, "out", "", "write `FILE` instead of to stdout, and show the plan for it")
	return cmd
}

func (r *rescuer) run(cmd *cobra.Command, o *options, hosts []string) error {
	for _, h := range hosts {
		if !thisMachine(h) {
			return exitWith(exitRefused, fmt.Errorf("%s: this version looks at this machine only (%s); other hosts come with ssh: run requorum rescue there", h, planner.CodeHostUnsupported))
		}
	}
	if r.out != "" {
		if _, err := os.Lstat(r.out); err == nil {
			return fmt.Errorf("--out: %s is there already, and is not written over", r.out)
		}
	}
	found, err := r.find(cmd.Context())
	if err != nil {
		return err
	}
	f, refusal := rescue.New(found)
	if refusal != nil {
		return r.refuse(refusal)
	}
	text, diags := load.Format([]byte(f.Text()), "rescued.hcl")
	if diags.HasErrors() {
		return fmt.Errorf("the file can't be written in HCL: %w", diags)
	}
	if r.out == "" {
		_, err := cmd.OutOrStdout().Write(text)
		return err
	}
	if err := create(r.out, text); err != nil {
		return err
	}
	fmt.Printf("Wrote %s. This is what `requorum plan %s` says:\n\n", r.out, r.out)
	return r.plan(cmd, o)
}

// plan shows what plan says for the file that was written.
func (r *rescuer) plan(cmd *cobra.Command, o *options) error {
	in, err := look(cmd, o, []string{r.out})
	if err != nil {
		var e *exit
		if errors.As(err, &e) && e.err == nil { // the diagnostics are printed
			fmt.Printf("It can't be planned yet: fill in what %s does not say.\n", r.out)
			return exitWith(exitError, nil)
		}
		return err
	}
	return show(planner.New(in), false)
}

// refuse shows why there is no file, like a plan's refusal.
func (r *rescuer) refuse(refusal *planner.Refusal) error {
	fmt.Fprint(os.Stderr, render.Refused(refusal, style()))
	return exitWith(exitRefused, nil)
}

// find looks at the machine. With directories named only those count, and what
// else runs here of the same clusters; without, all that runs.
func (r *rescuer) find(ctx context.Context) (rescue.Found, error) {
	found := rescue.Found{Addresses: addresses()}
	named, wals, err := dataDirs(r.dirs)
	if err != nil {
		return found, err
	}
	running := map[string]planner.Foreign{}
	var others []planner.Place
	for _, p := range r.host.Etcds(ctx) {
		dir := p.Settings["data-dir"]
		if dir == "" {
			found.Unseen = append(found.Unseen, p)
			continue
		}
		if i := slices.IndexFunc(named, func(n string) bool { return sameDir(n, dir) }); i >= 0 {
			dir = named[i]
		}
		running[dir] = p
		if !slices.Contains(named, dir) {
			others = append(others, planner.Place{Name: dir, DataDir: dir, WALDir: p.Settings["wal-dir"]})
		}
	}
	var places []planner.Place
	for _, d := range named {
		wal := wals[d]
		if wal == "" {
			wal = running[d].Settings["wal-dir"]
		}
		places = append(places, planner.Place{Name: d, DataDir: d, WALDir: wal})
	}
	if found.Disks, err = r.read(ctx, places, running); err != nil {
		return found, err
	}
	if len(named) > 0 {
		others = ofClusters(others, running, found.Disks)
	}
	more, err := r.read(ctx, others, running)
	found.Disks = append(found.Disks, more...)
	for _, d := range found.Disks {
		if p, ok := running[d.DataDir]; ok && d.Data.Known() && d.Data.Value.HeldBy == 0 {
			p.Problem = fmt.Sprintf("it has %s as its data directory, and not the one of this machine: it may be in a container", d.DataDir)
			found.Unseen = append(found.Unseen, p)
		}
	}
	return found, err
}

// ofClusters are the places of the clusters that the disks are of, and those that do
// not say whose they are but go by an address of a member.
func ofClusters(places []planner.Place, running map[string]planner.Foreign, disks []rescue.Disk) []planner.Place {
	ids, urls := map[string]bool{}, map[string]bool{}
	for _, d := range disks {
		ids[d.ClusterID()] = true
		for _, l := range d.Members() {
			for _, u := range l.PeerURLs {
				urls[u] = true
			}
		}
	}
	return slices.DeleteFunc(places, func(p planner.Place) bool {
		if id, _, err := etcd.Identity(p.DataDir, p.WALDir); err == nil {
			return !ids[id]
		}
		own := strings.Split(running[p.DataDir].Settings["initial-advertise-peer-urls"], ",")
		return !slices.ContainsFunc(own, func(u string) bool { return urls[u] })
	})
}

func (r *rescuer) read(ctx context.Context, places []planner.Place, running map[string]planner.Foreign) ([]rescue.Disk, error) {
	ctx, cancel := context.WithTimeout(ctx, kvLimit)
	defer cancel()
	facts, err := r.host.Observe(ctx, places)
	if err != nil {
		return nil, err
	}
	again := false
	for i, p := range places { // a log of its own, where requorum started the member
		if s := facts[p.Name].Service; p.WALDir == "" && s.Known() {
			for _, a := range s.Value.Args {
				if wal, ok := strings.CutPrefix(a, "--wal-dir="); ok {
					places[i].WALDir, again = wal, true
				}
			}
		}
	}
	if again {
		if facts, err = r.host.Observe(ctx, places); err != nil {
			return nil, err
		}
	}
	var out []rescue.Disk
	for _, p := range places {
		f := facts[p.Name]
		d := rescue.Disk{DataDir: p.DataDir, WALDir: p.WALDir, Data: f.Data, Service: f.Service, Aside: aside(p)}
		if f.Service.Known() && f.Service.Value.Foreign != nil {
			d.Process = f.Service.Value.Foreign
		} else if e, ok := running[p.DataDir]; ok && f.Data.Known() && f.Data.Value.HeldBy == e.PID {
			d.Process = &e
		}
		if f.Data.Known() && f.Data.Value.HeldBy != 0 {
			d.Peers = peers(ctx, d)
		}
		out = append(out, d)
	}
	return out, nil
}

// peers asks a running member who is in its cluster: its database is open, and can't
// be read beside it. The peer port answers without a quorum. One that wants
// certificates is not asked.
func peers(ctx context.Context, d rescue.Disk) []planner.ListedMember {
	s := d.Settings()
	ask := strings.Split(s["initial-advertise-peer-urls"]+","+s["listen-peer-urls"], ",")
	ask = slices.DeleteFunc(ask, func(u string) bool { return !strings.HasPrefix(u, "http://") })
	if len(ask) == 0 {
		return nil
	}
	p := etcd.ProbePeer(ctx, ask, etcd.Access{}, endpointLimit)
	if p.Reach != planner.ReachServing || p.ClusterID != d.Data.Value.ClusterID || !p.Members.Known() {
		return nil
	}
	return p.Members.Value
}

// dataDirs are the directories named, and those that lie in folders named; wals has
// the logs that lie elsewhere, named behind a comma.
func dataDirs(paths []string) (out []string, wals map[string]string, err error) {
	wals = map[string]string{}
	add := func(dir string) {
		if !slices.ContainsFunc(out, func(o string) bool { return sameDir(o, dir) }) {
			out = append(out, dir)
		}
	}
	for _, p := range paths {
		p, wal, hasWAL := strings.Cut(p, ",")
		dir, err := filepath.Abs(p)
		if err != nil {
			return nil, nil, err
		}
		if hasWAL {
			if wals[dir], err = filepath.Abs(wal); err != nil {
				return nil, nil, err
			}
		}
		if kept(dir) || hasWAL {
			add(dir)
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, nil, fmt.Errorf("--data-dir: %w", err)
		}
		n := len(out)
		slices.SortStableFunc(entries, func(x, y fs.DirEntry) int { // what is linked to, by its own name
			return int(x.Type()&fs.ModeSymlink) - int(y.Type()&fs.ModeSymlink)
		})
		for _, e := range entries {
			sub, beside := strings.CutSuffix(filepath.Join(dir, e.Name()), ".requorum")
			if beside || kept(sub) { // what lies beside says that something was there
				add(sub)
			}
		}
		if len(out) == n {
			add(dir) // what is the matter with it is said like everything else
		}
	}
	return out, wals, nil
}

// kept reports whether a member's data lies at the path, or did, or is kept from it.
func kept(dir string) bool {
	if host.LayoutOf(dir, "").FenceText() != "" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "member"))
	// What can't be looked into may have it.
	return err == nil || !errors.Is(err, fs.ErrNotExist) && !isNotDir(dir)
}

// sameDir reports whether two paths lead to one directory: a link to a data directory
// is no copy of it.
func sameDir(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func isNotDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && !fi.IsDir()
}

// aside are the directories that were moved out of the way of a place.
func aside(p planner.Place) []string {
	folder := host.LayoutOf(p.DataDir, p.WALDir).Aside()
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		// The data behind the fence that stands is looked at where it is fenced.
		if _, err := os.Stat(filepath.Join(folder, e.Name(), "fence.json")); err != nil {
			out = append(out, filepath.Join(folder, e.Name()))
		}
	}
	return out
}

// addresses are this machine's own.
func addresses() []string {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			out = append(out, n.IP.String())
		}
	}
	return out
}

func thisMachine(name string) bool {
	hostname, err := os.Hostname()
	return name == "localhost" || err == nil && name == hostname
}

// create writes a new file, for its owner only.
func create(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}
