package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/journal"
	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/planner/render"
)

// driller is the drill verb.
type driller struct {
	snapshotFile
	binary, scratch string
	members         int
}

func newSnapshotDrill() *cobra.Command {
	d := &driller{}
	cmd := &cobra.Command{
		Use:   "drill FILE|URL",
		Short: "Restore a snapshot to a throwaway cluster, and read it all back",
		Long: `Restores the snapshot to a throwaway cluster on loopback, starts it, reads every
key back through etcd's own API, and compares what it reads with what the file
holds: keys, values, revisions, leases, users, roles, HashKV. Then it stops and
removes all that it made, also after a failure or Ctrl-C.

That it came back is noted in this machine's journal, where requorum audit looks for it.

No live cluster is touched. So that all can be read, leases last an hour at least
in the copy, authentication is off, and old alarms are cleared.

Exit codes: 0 all came back, 1 not, 8 interrupted (nothing is left).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return d.run(cmd, args[0]) },
	}
	d.flags(cmd)
	cmd.Flags().StringVar(&d.binary, "binary", "", "start `ETCD` instead of the one inside requorum")
	cmd.Flags().StringVar(&d.scratch, "scratch", "", "make the throwaway cluster below `DIR` (default: TMPDIR, or /tmp)")
	cmd.Flags().IntVar(&d.members, "members", 1, "a throwaway cluster of `N` members, 1 to 7")
	return cmd
}

func (d *driller) run(cmd *cobra.Command, name string) error {
	if d.members < 1 || d.members > 7 {
		return errors.New("--members: 1 to 7")
	}
	command, err := etcdCommand(d.binary)
	if err != nil {
		return err
	}
	got, err := d.fetch(cmd, name)
	if err != nil {
		return err
	}
	tidies() // what was made is removed before the end
	scratch, err := os.MkdirTemp(d.scratch, "requorum-drill-")
	if err != nil {
		return fmt.Errorf("--scratch: %w", err)
	}
	defer func() { _ = os.Remove(scratch) }() // empty by then
	res, err := snapshot.Drill(cmd.Context(), snapshot.DrillRequest{
		Snapshot: got.Path, Want: d.want, Command: command, Members: d.members, Scratch: filepath.Join(scratch, "cluster"),
	}, d.progress.show)
	d.progress.clear()
	res.Snapshot.Source = got.Origin
	switch {
	case cmd.Context().Err() != nil:
		return exitWith(exitInterrupted, errors.New("interrupted; the throwaway cluster is removed"))
	case err != nil && snapshot.Refusal(err) != nil:
		return d.refuse(cmd, err)
	case err != nil:
		return d.failed(res, err)
	}
	if err := recordDrill(got.Origin, res); err != nil {
		fmt.Fprintf(os.Stderr, "requorum: the drill passed, and could not be recorded for audits: %v\n", err)
	}
	if d.asJSON {
		return printJSON(drillJSON{true, "", res, res.Took.Seconds()})
	}
	fmt.Print(drillText(res, style()))
	return nil
}

// recordDrill notes for audits that the snapshot came back whole.
func recordDrill(source string, res snapshot.DrillResult) error {
	dir, err := journal.Dir()
	if err != nil {
		return err
	}
	return journal.AppendDrill(dir, journal.Drill{
		Time: time.Now().UTC().Format(time.RFC3339), Source: source, SHA256: res.Snapshot.SHA256,
		Revision: res.Snapshot.Revision, Etcd: res.Version,
	})
}

type drillJSON struct {
	Passed bool   `json:"passed"`
	Error  string `json:"error,omitempty"`
	snapshot.DrillResult
	Seconds float64 `json:"seconds"`
}

// failed says what did not come back.
func (d *driller) failed(res snapshot.DrillResult, err error) error {
	if d.asJSON {
		if jerr := printJSON(drillJSON{false, err.Error(), res, res.Took.Seconds()}); jerr != nil {
			return jerr
		}
		return exitWith(exitError, nil)
	}
	s := style()
	fmt.Fprintf(os.Stderr, "%s %s\n%s", s.Bad("Drill failed:"), render.Paragraph(res.Snapshot.Source+" did not come back", s),
		render.Facts([]render.Fact{{Label: "Why", Text: err.Error()}, {Label: "Phases", Text: phasesText(res)}, {Label: "Left", Text: "nothing: all that was made is removed"}}, s))
	return exitWith(exitError, nil)
}

func drillText(res snapshot.DrillResult, s render.Style) string {
	head := fmt.Sprintf("Drill passed: %s came back whole, in %.1f s", res.Snapshot.Source, res.Took.Seconds())
	head = strings.Replace(render.Paragraph(head, s), "Drill passed:", s.Good("Drill passed:"), 1)
	each := ""
	if res.Members > 1 {
		each = " on each member"
	}
	hash := fmt.Sprint(res.HashKV)
	if res.Members > 1 {
		hash += ", equal on all members"
	}
	if res.HashOfFile {
		hash += ", and what the file's records give"
	} else {
		hash += "; not compared with the file, which was saved during a compaction"
	}
	auth := "off"
	if res.Auth || res.Users+res.Roles > 0 {
		auth = authText(res.Auth, res.Users, res.Roles) + "; all are there"
	}
	alarms := ""
	if len(res.Alarms) > 0 {
		alarms = strings.Join(res.Alarms, ", ") + " came along; a restore disarms them"
	}
	return head + render.Facts([]render.Fact{
		{Label: "Proven", Text: fmt.Sprintf("sha256 %s…, %s", res.Snapshot.SHA256[:12], render.Bytes(res.Snapshot.Size))},
		{Label: "Started", Text: fmt.Sprintf("etcd %s, %s on loopback", res.Version, render.Count(res.Members, "member"))},
		{Label: "Read", Text: fmt.Sprintf("%d of %s%s, %s, each as in the file (digest %s)", res.Keys, render.Count(res.Snapshot.Keys, "key"), each, render.Bytes(res.Bytes), res.Digest)},
		{Label: "Revision", Text: fmt.Sprintf("%d, as in the file", res.Revision)},
		{Label: "HashKV", Text: hash},
		{Label: "Leases", Text: fmt.Sprintf("%d of %d", res.Leases, res.Snapshot.Leases)},
		{Label: "Auth", Text: auth},
		{Label: "Alarms", Text: alarms},
		{Label: "Phases", Text: phasesText(res)},
		{Label: "Left", Text: "nothing: the throwaway cluster is stopped and removed"},
	}, s)
}

func phasesText(res snapshot.DrillResult) string {
	var parts []string
	for _, p := range res.Phases {
		parts = append(parts, fmt.Sprintf("%s %.1f s", p.Name, p.Seconds))
	}
	return strings.Join(parts, ", ")
}
