package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/planner/render"
)

func newSnapshotInspect() *cobra.Command {
	f, d, o := &snapshotFile{}, &stoppedCopy{}, snapshot.InspectOptions{}
	cmd := &cobra.Command{
		Use:   "inspect FILE|URL",
		Short: "Show what is in a snapshot, or in a stopped member's directory",
		Long: `Proves the file as requorum snapshot verify does and shows what is in it: revision,
keys, size, which etcd starts from it, members, leases, alarms, users, and the
prefixes with the most keys and the most bytes. Nothing is changed.

With --data-dir it is shown what a stopped member's directory holds, with all of its
log: a snapshot is made of a copy, below --scratch, and removed again.

A prefix ends with --separator; one that has nearly all keys is divided further.

Exit codes: 0 done, 1 not proven, 8 interrupted (nothing is left).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Prefixes < 0 || o.Prefixes > 1000 {
				return errors.New("--prefixes: 0 to 1000")
			}
			if err := d.check(args); err != nil {
				return err
			}
			tidies() // a copy is removed before the end
			path, shown, done, err := d.source(cmd, f, args)
			if err != nil {
				return err
			}
			defer done()
			o.Want = f.want
			in, err := snapshot.Inspect(cmd.Context(), path, o, f.progress.show)
			f.progress.clear()
			if err != nil {
				return f.refuse(cmd, err)
			}
			in.Source = shown
			if at := d.modifiedAt; at != "" {
				in.ModifiedAt = at
			}
			ofDir := d.dataDir != "" || namedOfDir(shown)
			if f.asJSON {
				return printJSON(struct {
					*snapshot.Inspection
					valuesProven
				}{in, valuesOf(in.SnapshotObservation, ofDir)})
			}
			fmt.Print(inspection(in, ofDir, style()))
			return nil
		},
	}
	f.flags(cmd)
	d.flags(cmd, "look into")
	cmd.Flags().IntVar(&o.Prefixes, "prefixes", 8, "show the `N` prefixes with the most keys, and with the most bytes")
	cmd.Flags().StringVar(&o.Separator, "separator", "/", "what ends a prefix within a key: `TEXT`")
	return cmd
}

func inspection(in *snapshot.Inspection, ofDir bool, s render.Style) string {
	var b strings.Builder
	head := render.Paragraph(fmt.Sprintf("Snapshot %s: revision %d, %s, %s", in.Source, in.Revision, render.Count(in.Keys, "key"), render.Bytes(in.Size)), s)
	b.WriteString(strings.Replace(head, "Snapshot", s.Bold("Snapshot"), 1) + "\n")
	b.WriteString(render.Facts([]render.Fact{
		{Label: "Revision", Text: revisionText(in)},
		{Label: "Keys", Text: fmt.Sprintf("%d live (%s with values); %s of history (%s)",
			in.Keys, render.Bytes(in.LiveBytes), render.Count(in.History, "revision"), render.Bytes(in.HistoryBytes))},
		{Label: "Size", Text: fmt.Sprintf("%s, of it %s in use; %s", render.Bytes(in.Size), render.Bytes(in.InUse), render.Count(in.Records, "record"))},
		{Label: "Version", Text: startsText(in.Version, in.Starts)},
		{Label: "Leases", Text: leasesText(in)},
		{Label: "Alarms", Text: alarmsText(in)},
		{Label: "Auth", Text: authText(in.Auth, in.Users, in.Roles)},
		{Label: "File", Text: ageText(in.ModifiedAt)},
		{Label: "sha256", Text: hashText(in.SnapshotObservation, ofDir)},
	}, s))
	b.WriteString(memberTable(in, s))
	b.WriteString(prefixTables(in, s))
	return b.String()
}

func revisionText(in *snapshot.Inspection) string {
	text := fmt.Sprint(in.Revision)
	switch {
	case in.Compacting:
		text += fmt.Sprintf(", a compaction at %d was on its way", in.Compacted)
	case in.Compacted > 0:
		text += fmt.Sprintf(", compacted at %d", in.Compacted)
	default:
		text += ", never compacted"
	}
	if in.Index > 0 {
		text += fmt.Sprintf("; log applied to #%d, term %d", in.Index, in.Term)
	}
	return text
}

func leasesText(in *snapshot.Inspection) string {
	switch {
	case in.Leases == 0:
		return "none"
	case in.ShortestTTL == in.LongestTTL:
		return fmt.Sprintf("%d, of %d s", in.Leases, in.LongestTTL)
	}
	return fmt.Sprintf("%d, of %d s to %d s", in.Leases, in.ShortestTTL, in.LongestTTL)
}

func alarmsText(in *snapshot.Inspection) string {
	if len(in.AlarmList) == 0 {
		return "none"
	}
	return strings.Join(in.AlarmList, ", ") + "; a restore disarms them"
}

func authText(on bool, users, roles int) string {
	if !on && users+roles == 0 {
		return "off"
	}
	state := "off"
	if on {
		state = "on"
	}
	return fmt.Sprintf("%s, with %s and %s", state, render.Count(users, "user"), render.Count(roles, "role"))
}

func memberTable(in *snapshot.Inspection, s render.Style) string {
	if len(in.MemberList) == 0 {
		return "\n" + render.Paragraph("The file lists no members: they were taken out of it, as for a restore.", s)
	}
	var facts []render.Fact
	for _, m := range in.MemberList {
		name, role := m.Name, "voter"
		if name == "" {
			name = "(never started)"
		}
		if m.Learner {
			role = "learner"
		}
		text := fmt.Sprintf("%s, %s, peers %s", m.ID, role, strings.Join(m.PeerURLs, " "))
		if len(m.ClientURLs) > 0 {
			text += ", clients " + strings.Join(m.ClientURLs, " ")
		}
		facts = append(facts, render.Fact{Label: name, Text: text})
	}
	if in.Removed > 0 {
		facts = append(facts, render.Fact{Label: "", Text: render.Count(in.Removed, "removed member") + " remembered"})
	}
	return "\n" + render.Facts(facts, s)
}

func prefixTables(in *snapshot.Inspection, s render.Style) string {
	if len(in.ByCount) == 0 {
		return ""
	}
	text := "\n" + prefixTable("Most keys", in.ByCount, in, s)
	same := func(a, b snapshot.Prefix) int { return strings.Compare(a.Prefix, b.Prefix) }
	if !slices.Equal(slices.SortedFunc(slices.Values(in.ByCount), same), slices.SortedFunc(slices.Values(in.BySize), same)) {
		text += "\n" + prefixTable("Most bytes", in.BySize, in, s)
	}
	if in.PrefixesCut {
		text += "\n" + render.Paragraph("There are more prefixes than are kept track of: the keys of the later ones are counted where they begin alike.", s)
	}
	return text
}

func prefixTable(head string, list []snapshot.Prefix, in *snapshot.Inspection, s render.Style) string {
	rows := [][]string{{head, "Keys", "", "Bytes", ""}}
	for _, p := range list {
		name := p.Prefix
		switch {
		case p.Others && name == "":
			name = "(all others)"
		case p.Others:
			name += " (others)"
		}
		rows = append(rows, []string{
			name, fmt.Sprint(p.Keys), share(int64(p.Keys), int64(in.Keys)),
			render.Bytes(p.Bytes), share(p.Bytes, in.LiveBytes),
		})
	}
	return render.Table(rows, s)
}

func share(n, of int64) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", 100*float64(n)/float64(of))
}
