package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

func newSnapshot(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Save, prove, look into, export and try out snapshots",
		Long: `Saves snapshots of a live cluster or of a stopped member's directory, proves that a
file is what etcd wrote, shows what is in it, writes its keys out, and tries it out:
a backup that was never restored is not a backup.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotSave(o), newSnapshotVerify(), newSnapshotInspect(), newSnapshotExport(), newSnapshotDrill())
	return cmd
}

// snapshotFile is the FILE|URL argument and what goes with it.
type snapshotFile struct {
	want     snapshot.Want
	identity string
	asJSON   bool
	progress *dials
}

func (f *snapshotFile) flags(cmd *cobra.Command) {
	f.proofFlags(cmd)
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "as JSON, and nothing else on stdout")
}

func (f *snapshotFile) proofFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.want.SHA256, "sha256", "", "the file must have this sha256, with or without the one that etcd appends: `HEX`")
	cmd.Flags().BoolVar(&f.want.SkipHashCheck, "skip-hash-check", false, "take a file without a hash: a member/snap/db copied from a stopped member")
	cmd.Flags().StringVar(&f.identity, "identity", "", "decrypt with the age identities in `FILE` (or REQUORUM_AGE_IDENTITY)")
}

// fetch brings the file here. Its errors are exits: a refusal is shown already.
func (f *snapshotFile) fetch(cmd *cobra.Command, name string) (source.File, error) {
	if n := len(f.want.SHA256); n != 0 && !isSHA256(f.want.SHA256) {
		return source.File{}, fmt.Errorf("--sha256: 64 hexadecimal digits are wanted, not %d characters", n)
	}
	f.progress = newDials()
	cache, err := cacheDir()
	if err != nil {
		return source.File{}, err
	}
	got, err := source.Fetch(cmd.Context(), name, source.Options{Cache: cache, Identity: f.identity, Progress: f.progress.show})
	if err != nil {
		return got, f.refuse(cmd, err)
	}
	return got, nil
}

func isSHA256(s string) bool {
	for _, c := range s {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return false
		}
	}
	return len(s) == 64
}

// cacheDir is where what was fetched is kept.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for what is fetched: %w", err)
	}
	return filepath.Join(dir, "requorum", "snapshots"), nil
}

// refuse shows why the file is not taken, and gives the exit.
func (f *snapshotFile) refuse(cmd *cobra.Command, err error) error {
	f.progress.clear()
	return refuseSnapshot(cmd, err, f.asJSON)
}

// refuseSnapshot shows a refusal, if err is one, on stdout as JSON and on stderr
// otherwise.
func refuseSnapshot(cmd *cobra.Command, err error, asJSON bool) error {
	if cmd.Context().Err() != nil {
		return cmd.Context().Err()
	}
	r := snapshot.Refusal(err)
	var p *source.Problem
	var own *refused
	switch {
	case r != nil:
	case errors.As(err, &own):
		r = own.refusal
	case errors.As(err, &p):
		r = planner.RefuseFile(p.Code, p.Detail)
	default:
		return err
	}
	if asJSON {
		if err := printJSON(struct {
			Refusal *planner.Refusal `json:"refusal"`
		}{r}); err != nil {
			return err
		}
	} else {
		fmt.Fprint(os.Stderr, render.Refused(r, style()))
	}
	return exitWith(exitError, nil)
}

// refused is a refusal as an error.
type refused struct{ refusal *planner.Refusal }

func (r *refused) Error() string { return fmt.Sprintf("%s: %s", r.refusal.Code, r.refusal.Detail) }

func printJSON(v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(b))
	return err
}

// dials show long work on stderr, in place; nothing without a terminal.
type dials struct {
	live  bool
	drawn bool
	last  time.Time
	width int
}

func newDials() *dials { return &dials{live: isTerminal(os.Stderr), width: widthOf(os.Stderr)} }

func (d *dials) show(what string, done, total int64) {
	if !d.live || time.Since(d.last) < 100*time.Millisecond {
		return
	}
	d.last, d.drawn = time.Now(), true
	text := "  " + what + "…"
	switch {
	case total > 10_000:
		text += fmt.Sprintf(" %d%% of %s", 100*done/total, render.Bytes(total))
	case total > 0:
		text += fmt.Sprintf(" %d of %d", done, total)
	case done > 10_000:
		text += " " + render.Bytes(done)
	}
	if r := []rune(text); len(r) > d.width {
		text = string(r[:d.width])
	}
	fmt.Fprint(os.Stderr, "\r\x1b[K"+text)
}

// clear takes the line away again.
func (d *dials) clear() {
	if d != nil && d.drawn {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		d.drawn = false
	}
}

// startsText says which etcds start from a snapshot.
func startsText(written string, starts []string) string {
	by := "written by etcd 3.5 or older"
	if written != "" {
		by = "storage version " + written
	}
	switch len(starts) {
	case 0:
		return by + "; no etcd that is known starts from it"
	case 1:
		return by + "; etcd " + starts[0] + " starts from it"
	}
	last := len(starts) - 1
	return fmt.Sprintf("%s; etcd %s and %s start from it", by, strings.Join(starts[:last], ", "), starts[last])
}

// hashText says what vouches for the bytes. A file that was made of a directory has
// a hash by requorum, of what was read there.
func hashText(s planner.SnapshotObservation, ofDir bool) string {
	switch {
	case ofDir:
		return s.SHA256 + ", appended by requorum: it was made of a data directory, and its values are not provable"
	case s.HasHash:
		return s.SHA256 + ", appended and right"
	}
	return s.SHA256 + ", of the file as it is: it has none of its own, so its values are not provable"
}

// unprovable is what is said of each snapshot that was made of a directory (S14).
func unprovable(dir string) string {
	return dir + ": its pages have no checksums, so that a value that changed on the disk may have gone unseen: values were held against its log as far as that reaches, the others are not provable; the sha256 is requorum's own"
}

// valuesProven is false in JSON where it is known that nothing vouches for the values.
type valuesProven struct {
	Values *bool `json:"values_proven,omitempty"`
}

func valuesOf(o planner.SnapshotObservation, ofDir bool) (p valuesProven) {
	if ofDir || !o.HasHash {
		p.Values = new(false)
	}
	return p
}

// ageText says how old a file is.
func ageText(at string) string {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s old (%s); what is in it may be older", render.Age(max(time.Since(t), 0)), at)
}
