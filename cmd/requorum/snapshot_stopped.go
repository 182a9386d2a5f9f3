package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/host/local"
	"github.com/requorum/requorum/executor/survivor"
	"github.com/requorum/requorum/planner"
)

// stopped is a data directory that nobody runs on, and how it is read: a copy of it
// is made readable to the end of its log. The directory itself stays as it is.
type stopped struct {
	dataDir, walDir, binary string
	dropTail                bool
}

func (s *stopped) flags(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&s.dataDir, "data-dir", "", what+" a stopped member's `DIR`, with all that its log holds; it is only read")
	cmd.Flags().StringVar(&s.walDir, "wal-dir", "", "the directory's log lies in `DIR`")
	cmd.Flags().StringVar(&s.binary, "binary", "", "open the directory's copy with `ETCD` instead of the one inside requorum: one of its own minor version")
	cmd.Flags().BoolVar(&s.dropTail, "drop-tail", false, "leave out the log's last entries, those that this directory alone does not prove to be agreed on")
}

// check makes the paths absolute.
func (s *stopped) check() (err error) {
	switch {
	case s.dataDir == "" && s.walDir != "":
		return errors.New("--wal-dir goes with --data-dir")
	case s.dataDir == "":
		return nil
	}
	if s.dataDir, err = filepath.Abs(s.dataDir); err != nil || s.walDir == "" {
		return err
	}
	s.walDir, err = filepath.Abs(s.walDir)
	return err
}

// etcdCommand is the beginning of etcd's command line, "" for the one inside
// requorum.
func etcdCommand(binary string) ([]string, error) {
	if binary != "" {
		path, err := filepath.Abs(binary)
		return []string{path}, err
	}
	self, err := os.Executable()
	return []string{self, "etcd"}, err
}

// look reads the directory. It refuses one that can't be read through, and an etcd
// that must not open it (S12). version is that etcd's.
func (s *stopped) look(ctx context.Context) (d planner.DataDir, version string, err error) {
	fact := etcd.ReadDataDir(s.dataDir, s.walDir)
	if r := planner.RefuseDir(s.dataDir, fact); r != nil {
		return d, "", &refused{r}
	}
	bin := local.New(local.Options{}).Binary(ctx, s.binary)
	if !bin.Known() {
		return d, "", &refused{planner.RefuseFile(planner.CodeBinaryMissing, bin.Why)}
	}
	if r := planner.RefuseOpen(fact.Value, bin.Value.Version); r != nil {
		return d, "", &refused{r}
	}
	return fact.Value, bin.Value.Version, nil
}

// snapshot makes a snapshot file of what look saw, named out, in the folder work,
// which is there and ours.
func (s *stopped) snapshot(ctx context.Context, d planner.DataDir, work, out string, progress func(string, int64, int64)) (survivor.Record, error) {
	command, err := etcdCommand(s.binary)
	if err != nil {
		return survivor.Record{}, err
	}
	upto := d.LastIndex
	if s.dropTail {
		upto = min(d.Agreed(), d.LastIndex)
	}
	rec, err := survivor.Recover(ctx, survivor.Request{
		Command: command, DataDir: s.dataDir, WALDir: s.walDir, Work: filepath.Join(work, "copy"),
		ClusterID: d.ClusterID, MemberID: d.MemberID, LastTerm: d.LastTerm, LastIndex: d.LastIndex, Upto: upto, Out: out,
	}, progress)
	if err != nil && ctx.Err() == nil {
		if now := etcd.ReadDataDir(s.dataDir, s.walDir); now.Known() && now.Value.HeldBy != 0 { // since it was looked at
			return rec, &refused{planner.RefuseDir(s.dataDir, now)}
		}
		r := planner.RefuseFile(planner.CodeDataUnknown, err.Error()+".")
		r.Remedy = []string{"Keep it as it is: it may hold what no other disk has.", "What was in the way need not be the data: see to that, then try again."}
		if survivor.IsDamage(err) {
			r.Code, r.Remedy[1] = planner.CodeDataDamaged, "Use another member's directory, or a snapshot."
		}
		r.Title = "nothing could be made of the data directory"
		if survivor.IsNoRoom(err) {
			r = planner.RefuseFile(planner.CodeNoRoom, err.Error())
			r.Remedy = []string{"Make room there, or name a folder on another disk: TMPDIR, or the destination of a save."}
		}
		return rec, &refused{r}
	}
	return rec, err
}

// doubtText says what of the log may never have been acknowledged; "" for nothing.
func (s *stopped) doubtText(d planner.DataDir) string {
	text, risky := planner.InDoubt(d)
	switch {
	case text == "":
		return ""
	case s.dropTail:
		return fmt.Sprintf("%s: left out %s at the log's end", s.dataDir, text)
	case risky:
		return fmt.Sprintf("%s: kept %s at the log's end; some of it undoes what was there before, and may never have been agreed on: --drop-tail saves the state before it", s.dataDir, text)
	}
	return fmt.Sprintf("%s: kept %s at the log's end; it may never have been acknowledged", s.dataDir, text)
}

// stoppedName is the member's, as its own list has it, or its ID.
func stoppedName(d planner.DataDir) string {
	for _, l := range d.Members {
		if l.ID == d.MemberID && l.Name != "" {
			return l.Name
		}
	}
	return d.MemberID
}
