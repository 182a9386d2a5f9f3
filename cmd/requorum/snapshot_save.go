package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// saver is the save verb.
type saver struct {
	member     string
	all        bool
	to         string
	keep       int
	recipients []string
	compress   string
	asJSON     bool

	session  *session
	dest     destination
	progress *dials
	notes    []string
}

func newSnapshotSave(o *options) *cobra.Command {
	v := &saver{}
	cmd := &cobra.Command{
		Use:   "save [PATH] --to DEST",
		Short: "Save a snapshot of the live cluster, and prove it",
		Long: `Saves a snapshot from the voter that has applied the most, and not from the
leader where another has as much. It is called saved once its hash is right, every
page and record was read, and it is on the disk under its name.

DEST is a file that does not exist, a folder that does, or s3://BUCKET/KEY; below
a folder, or an s3 prefix that ends in "/", the name is CLUSTER-REVISION-TIME.db.
--all saves each member's own, for the hour when members differ, as
CLUSTER@MEMBER-REVISION-TIME.db.

--keep N leaves the newest N that this verb wrote there for this cluster (with
--all, for each member) and removes the older ones; no other file is touched.

PATH is the cluster's file; its client URLs, tls and auth are used. etcd asks for
the root role where authentication is enabled.

Exit codes: 0 saved, 1 not (with --all: not all), 8 interrupted (nothing half
saved is left).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd, o, args) },
	}
	addVars(cmd, o)
	cmd.Flags().StringVar(&v.to, "to", "", "where to: a file, a folder, s3://BUCKET/PREFIX/: `DEST`")
	cmd.Flags().StringVar(&v.member, "member", "", "save from member `NAME`, whatever others have")
	cmd.Flags().BoolVar(&v.all, "all", false, "save from each member that answers")
	cmd.Flags().IntVar(&v.keep, "keep", 0, "keep the newest `N` in that folder, and remove older ones (0: all)")
	cmd.Flags().StringArrayVar(&v.recipients, "recipient", nil, "encrypt with age, for `age1…` (repeatable)")
	cmd.Flags().StringVar(&v.compress, "compress", "", "compress with `zstd` or gzip")
	cmd.Flags().BoolVar(&v.asJSON, "json", false, "as JSON, and nothing else on stdout")
	return cmd
}

// savedFile is one snapshot that was saved.
type savedFile struct {
	Member    string `json:"member"`
	MemberID  string `json:"member_id"`
	ClusterID string `json:"cluster_id"`
	Role      string `json:"role"`
	Etcd      string `json:"etcd"`
	File      string `json:"file"`
	Encrypted bool   `json:"encrypted"`
	planner.SnapshotObservation
	Removed []string `json:"removed"`
}

// notSaved is a member that no snapshot could be saved from.
type notSaved struct {
	Member string `json:"member"`
	Why    string `json:"why"`
}

type savedAll struct {
	Saved  []savedFile `json:"saved"`
	Failed []notSaved  `json:"failed"`
	Notes  []string    `json:"notes"`
}

func (v *saver) run(cmd *cobra.Command, o *options, args []string) error {
	var err error
	if err := v.check(); err != nil {
		return err
	}
	if v.session, err = open(cmd, o, pathOf(args)); err != nil {
		return err
	}
	if _, ok := v.session.cluster.Member(v.member); v.member != "" && !ok {
		return fmt.Errorf("--member: the file has no member %q; it has %s", v.member, memberNames(v.session))
	}
	ctx := cmd.Context()
	if v.dest, err = newDestination(ctx, v.to); err != nil {
		return refuseSnapshot(cmd, err, v.asJSON)
	}
	if !v.dest.folder && (v.all || v.keep > 0) {
		return fmt.Errorf("--to: %s is one file; --all and --keep need a folder that exists, or an s3 prefix that ends in /", v.to)
	}
	v.progress = newDials()
	from, failed, err := v.choose(ctx)
	if err != nil {
		return refuseSnapshot(cmd, err, v.asJSON)
	}
	acting.Store(true) // a file that was begun is removed before the end
	out := savedAll{Failed: failed, Notes: []string{}, Saved: []savedFile{}}
	for _, a := range from {
		f, err := v.save(ctx, a)
		v.progress.clear()
		switch {
		case ctx.Err() != nil:
			return exitWith(exitInterrupted, v.interrupted(out))
		case err != nil && !v.all:
			return refuseSnapshot(cmd, err, v.asJSON)
		case err != nil:
			out.Failed = append(out.Failed, notSaved{a.name, err.Error()})
			continue
		}
		out.Saved = append(out.Saved, f)
	}
	out.Notes = append(out.Notes, v.notes...)
	return v.show(out)
}

func (v *saver) check() error {
	switch {
	case v.to == "":
		return errors.New("--to: say where the snapshot goes: a file, a folder, or s3://BUCKET/PREFIX/")
	case v.all && v.member != "":
		return errors.New("--all and --member exclude each other")
	case v.keep < 0:
		return errors.New("--keep: 0 (all) or more")
	case v.compress != "" && v.compress != "zstd" && v.compress != "gzip":
		return fmt.Errorf("--compress: zstd or gzip, not %q", v.compress)
	}
	for _, r := range v.recipients {
		// What was given may be a secret by mistake, and is not shown.
		if _, err := age.ParseRecipients(strings.NewReader(r)); err != nil || !strings.HasPrefix(r, "age1") {
			return errors.New("--recipient: that is no age recipient: one begins with age1; an identity (AGE-SECRET-KEY-…) is for reading, and is kept secret")
		}
	}
	return nil
}

func (v *saver) interrupted(out savedAll) error {
	text := "interrupted; nothing half saved is left"
	for _, f := range out.Saved {
		text += "; saved before: " + f.File
	}
	return errors.New(text)
}

// save brings one member's snapshot to its place: saved and hashed, proven, then
// published.
func (v *saver) save(ctx context.Context, a candidate) (f savedFile, err error) {
	work, err := v.workDir()
	if err != nil {
		return f, err
	}
	// Our own folder, with nothing in it but what came from the member just now.
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	path := filepath.Join(work, "snapshot.db")
	got, err := etcd.SaveSnapshot(ctx, a.URL, v.session.observer.Client, path, func(done, total int64) {
		v.progress.show("saving from "+a.name, done, total)
	})
	if err != nil {
		return f, err
	}
	if got.MemberID != a.MemberID || got.ClusterID != a.ClusterID {
		return f, fmt.Errorf("%s answered as member %s of cluster %s before, and as %s of %s when it was saved from", a.URL, a.MemberID, a.ClusterID, got.MemberID, got.ClusterID)
	}
	o := snapshot.Verify(ctx, path, snapshot.Want{SHA256: got.SHA256}, v.progress.show)
	if o.Problem != "" {
		return f, &refused{planner.RefuseFile(o.Problem, "what "+a.name+" sent is not a snapshot that can be restored: "+o.Detail)}
	}
	if o.Revision < got.Revision {
		return f, fmt.Errorf("%s was at revision %d, and what it sent is at %d", a.name, got.Revision, o.Revision)
	}
	f = savedFile{
		Member: a.name, MemberID: a.MemberID, ClusterID: a.ClusterID, Role: render.Role(a.Endpoint), Etcd: got.Version,
		Encrypted: len(v.recipients) > 0, SnapshotObservation: o, Removed: []string{},
	}
	if f.File, err = v.publish(ctx, path, a, o.Revision); err != nil {
		return f, err
	}
	f.Source, f.Path = f.File, ""
	if v.keep > 0 {
		if f.Removed, err = v.removeOld(ctx, v.owner(a), filepath.Base(f.File)); err != nil {
			v.notes = append(v.notes, fmt.Sprintf("%s is saved, but older ones could not be removed: %v", f.File, err))
			err = nil
		}
	}
	return f, nil
}

// workDir is a folder for the plain snapshot. Where that is what is wanted it lies
// beside its later name; an encrypted one's plain bytes never touch the place it
// goes to.
func (v *saver) workDir() (string, error) {
	if v.plain() {
		return os.MkdirTemp(v.dest.dir, ".requorum-saving-")
	}
	return os.MkdirTemp("", "requorum-saving-")
}

func (v *saver) plain() bool {
	return !v.dest.remote && len(v.recipients) == 0 && v.compress == ""
}

// publish gives the proven snapshot its name, through compression, encryption and
// the network where these are wanted.
func (v *saver) publish(ctx context.Context, path string, a candidate, revision int64) (string, error) {
	name := v.dest.name
	if v.dest.folder {
		name = snapshotName(v.owner(a), revision, time.Now(), v.compress, len(v.recipients) > 0)
	}
	if v.plain() {
		final := filepath.Join(v.dest.dir, name)
		err := etcd.Publish(path, final)
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%s is there already, and is never written over", final)
		}
		return final, err
	}
	return source.Put(ctx, path, v.dest.join(name), source.PutOptions{
		Recipients: v.recipients, Compress: v.compress, Progress: v.progress.show,
	})
}

func (v *saver) show(out savedAll) error {
	code := exitOK
	if len(out.Failed) > 0 && v.all || len(out.Saved) == 0 {
		code = exitError
	}
	if v.asJSON {
		if err := printJSON(out); err != nil {
			return err
		}
	} else {
		fmt.Print(savedText(out, v.all, style()))
	}
	if code != exitOK {
		return exitWith(code, nil)
	}
	return nil
}

func savedText(out savedAll, all bool, s render.Style) string {
	var b strings.Builder
	for i, f := range out.Saved {
		if i > 0 {
			b.WriteString("\n")
		}
		kind := "proven"
		if f.Encrypted {
			kind = "proven, then encrypted"
		}
		head := render.Paragraph(fmt.Sprintf("Saved: %s, %s, %s", f.File, render.Bytes(f.Size), kind), s)
		b.WriteString(strings.Replace(head, "Saved:", s.Good("Saved:"), 1))
		facts := []render.Fact{
			{Label: "From", Text: fmt.Sprintf("%s (%s), etcd %s, of cluster %s", f.Member, f.Role, f.Etcd, f.ClusterID)},
			{Label: "Revision", Text: fmt.Sprintf("%d, with %s", f.Revision, contentsText(f.SnapshotObservation))},
			{Label: "sha256", Text: f.SHA256},
		}
		for j, r := range f.Removed {
			label := ""
			if j == 0 {
				label = "Removed"
			}
			facts = append(facts, render.Fact{Label: label, Text: r})
		}
		b.WriteString(render.Facts(facts, s))
	}
	for _, f := range out.Failed {
		word := "Not asked:"
		if all {
			word = "Not saved:"
		}
		text := render.Paragraph(word+" "+f.Member+": "+f.Why, s)
		b.WriteString(strings.Replace(text, word, s.Warn(word), 1))
	}
	for _, n := range out.Notes {
		b.WriteString(s.Warn("Note:") + " " + render.Paragraph(n, s))
	}
	return b.String()
}
