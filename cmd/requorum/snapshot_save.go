package main

import (
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// saver is the save verb.
type saver struct {
	stopped
	member     string
	all        bool
	to         string
	keep       int
	recipients []string
	compress   string
	asJSON     bool

	session  *session // nil with --data-dir
	cluster  string   // whose snapshots they are, by name; by ID with --data-dir
	answered []string // the IDs of the clusters that members answered as
	dest     destination
	progress *dials
	notes    []string
}

func newSnapshotSave(o *options) *cobra.Command {
	v := &saver{}
	cmd := &cobra.Command{
		Use:   "save [PATH] --to DEST",
		Short: "Save a snapshot of the live cluster, or of a stopped member's directory, and prove it",
		Long: `Saves a snapshot from the voter that has applied the most, and not from the
leader where another has as much. It is called saved once its hash is right, every
page and record was read, and it is on the disk under its name.

DEST is a file that does not exist, a folder that does, or s3://BUCKET/KEY; below
a folder, or an s3 prefix that ends in "/", the name is OWNER-REVISION-TIME.db. OWNER
is the cluster's name and the first 8 digits of its ID, demo~cdf81819.

--all saves each member's own, for the hour when members differ or are dead: of one
that answers as it runs (demo~cdf81819@m1), of one that is stopped from its data
directory (demo~cdf81819@m1~disk). --member does so for one. Nothing is stopped,
started or changed: it is the safe thing to do first. --data-dir DIR needs no file
of a cluster; OWNER is then CLUSTER-ID@MEMBER~disk.

Of a data directory all is saved that its log holds. It is only read: a copy of it
is made beside DEST (or below TMPDIR), opened by an etcd of its own minor version,
and removed again. The log's last entries may never have been acknowledged: what
there is of them is said, and --drop-tail leaves them out. Such a snapshot is whole,
not proven: a directory's pages have no checksums, and the sha256 is requorum's own.

--keep N leaves the newest N there of the same OWNER and removes those that are older
than the one just written; no other file is touched. Names that requorum wrote before
they had an ID are nobody's: remove them by hand.

PATH is the cluster's file; its client URLs, tls, auth and etcd binary are used.
etcd asks for the root role where authentication is enabled.

Exit codes: 0 saved, 1 not (with --all: not from all; those that failed are named,
and the others' are there), 8 interrupted (nothing half saved is left).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd, o, args) },
	}
	addVars(cmd, o)
	cmd.Flags().StringVar(&v.to, "to", "", "where to: a file, a folder, s3://BUCKET/PREFIX/: `DEST`")
	cmd.Flags().StringVar(&v.member, "member", "", "save from member `NAME`, whatever others have")
	cmd.Flags().BoolVar(&v.all, "all", false, "save from each member, live or stopped")
	v.stopped.flags(cmd, "save")
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
	DataDir   string `json:"data_dir,omitempty"` // of a stopped member
	Log       string `json:"log,omitempty"`      // how far its log was taken
	File      string `json:"file"`
	Encrypted bool   `json:"encrypted"`
	// ValuesProven is false for a directory's: nothing there vouches for them (S14).
	ValuesProven bool `json:"values_proven"`
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
	if err := v.check(args); err != nil {
		return err
	}
	ctx := cmd.Context()
	v.progress = newDials()
	if v.dataDir == "" {
		var err error
		if v.session, err = open(cmd, o, pathOf(args)); err != nil {
			return err
		}
		v.cluster = v.session.cluster.Name
		if _, ok := v.session.cluster.Member(v.member); v.member != "" && !ok {
			return fmt.Errorf("--member: the file has no member %q; it has %s", v.member, memberNames(v.session))
		}
	}
	var err error
	if v.dest, err = newDestination(ctx, v.to); err != nil {
		return refuseSnapshot(cmd, err, v.asJSON)
	}
	if !v.dest.folder && (v.all || v.keep > 0) {
		return fmt.Errorf("--to: %s is one file; --all and --keep need a folder that exists, or an s3 prefix that ends in /", v.to)
	}
	from, failed, err := v.origins(ctx)
	if err != nil {
		return refuseSnapshot(cmd, err, v.asJSON)
	}
	tidies() // a file that was begun is removed before the end
	v.dropStrays(ctx, from)
	out := savedAll{Failed: failed, Notes: []string{}, Saved: []savedFile{}}
	for _, a := range from {
		f, err := v.save(ctx, a)
		v.progress.clear()
		if f.File != "" {
			out.Saved = append(out.Saved, f)
		}
		switch {
		case ctx.Err() != nil:
			return exitWith(exitInterrupted, v.interrupted(out))
		case err != nil && !v.all:
			return refuseSnapshot(cmd, err, v.asJSON)
		case err != nil:
			out.Failed = append(out.Failed, notSaved{a.name(), err.Error()})
		}
	}
	out.Notes = append(out.Notes, v.notes...)
	return v.show(out)
}

func (v *saver) check(args []string) error {
	switch {
	case v.dataDir != "" && (v.all || v.member != "" || len(args) > 0):
		return errors.New("--data-dir names all that is needed: PATH, --all and --member are for a cluster's file")
	case v.binary != "" && v.dataDir == "":
		return errors.New("--binary goes with --data-dir; the file says which etcd its members have")
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
	return v.stopped.check()
}

func (v *saver) interrupted(out savedAll) error {
	text := "interrupted; nothing half saved is left"
	for _, f := range out.Saved {
		text += "; saved before: " + f.File
		if n := len(f.Removed); n > 0 {
			text += fmt.Sprintf(", and %s removed", render.Count(n, "older file"))
		}
	}
	return errors.New(text)
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
		kind := "whole"
		if f.ValuesProven {
			kind = "proven"
		}
		if f.Encrypted {
			kind += ", then encrypted"
		}
		head := render.Paragraph(fmt.Sprintf("Saved: %s, %s, %s", f.File, render.Bytes(f.Size), kind), s)
		b.WriteString(strings.Replace(head, "Saved:", s.Good("Saved:"), 1))
		facts := []render.Fact{
			{Label: "From", Text: fmt.Sprintf("%s (%s), etcd %s, of cluster %s", f.Member, f.Role, f.Etcd, f.ClusterID)},
			{Label: "Log", Text: f.Log},
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
