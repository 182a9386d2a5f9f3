package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

func newSnapshotVerify() *cobra.Command {
	f := &snapshotFile{}
	cmd := &cobra.Command{
		Use:   "verify FILE|URL",
		Short: "Prove that a snapshot is whole, and is etcd's",
		Long: `Reads the whole file and proves it: the sha256 that etcd appends, every page of
the database, every record of every key, lease and member. Nothing is changed. Of
one that requorum made of a data directory this shows that it is whole; that its
values are not provable is known from its name alone, which has ~disk in it.

FILE may also be a folder (its newest file is taken), http://, https:// or
s3://BUCKET/KEY, compressed with gzip or zstd, and encrypted with age.

Exit codes: 0 proven, 1 not.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.verify(cmd, args[0]) },
	}
	f.flags(cmd)
	return cmd
}

func (f *snapshotFile) verify(cmd *cobra.Command, name string) error {
	got, err := f.fetch(cmd, name)
	if err != nil {
		return err
	}
	o := snapshot.Verify(cmd.Context(), got.Path, f.want, f.progress.show)
	f.progress.clear()
	o.Source = got.Origin
	if got.ModifiedAt != "" {
		o.ModifiedAt = got.ModifiedAt
	}
	if o.Problem != "" {
		return f.refuse(cmd, &refused{planner.RefuseFile(o.Problem, o.Detail)})
	}
	starts, ofDir := planner.SnapshotServers(o.Version, ""), namedOfDir(got.Origin)
	if f.asJSON {
		return printJSON(struct {
			Proven bool `json:"proven"`
			valuesProven
			Snapshot planner.SnapshotObservation `json:"snapshot"`
			Starts   []string                    `json:"starts"`
		}{true, valuesOf(o, ofDir), o, starts})
	}
	s := style()
	proven := "Proven:"
	if !o.HasHash || ofDir {
		proven = "Whole:"
	}
	fmt.Printf("%s %s", s.Good(proven), render.Paragraph(fmt.Sprintf("%s, every page and record of %s", got.Origin, render.Bytes(o.Size)), s))
	fmt.Print(render.Facts([]render.Fact{
		{Label: "sha256", Text: hashText(o, ofDir)},
		{Label: "Revision", Text: fmt.Sprintf("%d, with %s", o.Revision, contentsText(o))},
		{Label: "Version", Text: startsText(o.Version, starts)},
		{Label: "File", Text: ageText(o.ModifiedAt)},
	}, s))
	return nil
}

func contentsText(o planner.SnapshotObservation) string {
	text := fmt.Sprintf("%s, %s and %s", render.Count(o.Keys, "key"), render.Count(o.Leases, "lease"), render.Count(o.Members, "member"))
	if o.Alarms > 0 {
		text += ", and " + render.Count(o.Alarms, "alarm")
	}
	return text
}
