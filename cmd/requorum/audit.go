package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/executor/fleet"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/audit"
	"github.com/requorum/requorum/planner/render"
)

// auditor is the audit verb.
type auditor struct {
	format, failOn, out string
	parallel            int
}

// The forms of a report.
var auditFormats = []string{"text", "json", "sarif", "markdown", "prometheus"}

func newAudit(o *options) *cobra.Command {
	a := &auditor{}
	cmd := &cobra.Command{
		Use:   "audit [PATH…]",
		Short: "Say what is the matter with one or many clusters, and change nothing",
		Long: `Looks at the clusters of all files, side by side, and says what is the matter with
each: what differs from the file, what is down or about to fail, known bugs of the
versions that run, backups that are missing, old or were never tried out. Each
finding has a code that stays (requorum explain CODE), a severity (info, warning,
error, critical), the line of the file, what was seen, and what helps.

No cluster is changed, no database is read through, and no snapshot is fetched; on
hosts that are reached by ssh the agent is placed as for a plan, unless --no-install
is given. A cluster that does not answer delays no other one.

--format prometheus is for the node exporter's textfile collector, sarif for code
scanning, markdown for a comment or a job's summary. --out writes the file in one
step, so that nobody reads half of it.

Exit codes: 0 no finding as bad as --fail-on, or worse; 2 findings; 1 error: a file
can't be read, or its cluster could not be looked at.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd, o, args) },
	}
	addVars(cmd, o)
	addHosts(cmd, o)
	cmd.Flags().StringVar(&a.format, "format", "text", "`FORMAT`: "+strings.Join(auditFormats, ", "))
	cmd.Flags().StringVar(&a.failOn, "fail-on", "warning", "exit 2 where a finding is of this `SEVERITY` or worse: info, warning, error, critical")
	cmd.Flags().IntVar(&a.parallel, "parallel", 32, "look at `N` clusters at a time; those that keep us waiting don't count")
	cmd.Flags().StringVar(&a.out, "out", "", "write to `FILE` instead of stdout")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(auditFormats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions([]string{"info", "warning", "error", "critical"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *auditor) run(cmd *cobra.Command, o *options, paths []string) error {
	bar, err := audit.ParseSeverity(a.failOn)
	switch {
	case err != nil:
		return fmt.Errorf("--fail-on: %w", err)
	case !slices.Contains(auditFormats, a.format):
		return fmt.Errorf("--format: there is no format %q; the formats are %s", a.format, strings.Join(auditFormats, ", "))
	case a.out != "" && a.format == "text":
		return errors.New("--out is for programs: give --format json, sarif, markdown or prometheus; text goes to stdout")
	case a.parallel < 1 || a.parallel > 1000:
		return errors.New("--parallel: 1 to 1000")
	case len(paths) == 0:
		paths = []string{"."}
	}
	paths = unique(paths)
	began := time.Now()
	r := audit.Report{Format: audit.FormatVersion, Version: version, At: began.UTC().Format(time.RFC3339), Unix: began.Unix(), FailOn: bar}
	r.Clusters = make([]audit.Cluster, len(paths))
	said := make([]bytes.Buffer, len(paths))
	begun := fleet.Each(cmd.Context(), len(paths), a.parallel, func(i int) {
		r.Clusters[i] = auditOne(cmd.Context(), o, paths[i], &said[i])
	})
	if cmd.Context().Err() != nil || begun < len(paths) {
		return cmd.Context().Err()
	}
	for i := range said {
		fmt.Fprint(os.Stderr, said[i].String())
	}
	if err := a.write(r); err != nil {
		return err
	}
	switch {
	case !r.Whole():
		return exitWith(exitError, nil)
	case r.Fails():
		return exitWith(exitChanges, nil)
	}
	return nil
}

// unique leaves each path once, as it was first written: ./a.hcl and a.hcl are one.
func unique(paths []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range paths {
		whole, err := filepath.Abs(p) // clean, too
		if err != nil {
			whole = filepath.Clean(p) // without a working directory
		}
		if !seen[whole] {
			seen[whole] = true
			out = append(out, p)
		}
	}
	return out
}

// auditOne looks at one cluster; what is to be told beside its findings goes to said.
// Only the findings are kept of what was seen.
func auditOne(ctx context.Context, o *options, path string, said *bytes.Buffer) (out audit.Cluster) {
	began := time.Now()
	out = audit.Cluster{Path: path, Findings: []audit.Finding{}}
	defer func() { out.Seconds = float64(time.Since(began).Milliseconds()) / 1000 }()
	sub, own := &cobra.Command{}, *o
	sub.SetErr(said)
	sub.SetContext(ctx)
	s, err := open(sub, &own, path)
	if err != nil {
		out.Problem = problemOf(err, "the file can't be read")
		return out
	}
	defer s.close()
	out.Name = s.cluster.Name
	file := s.cluster
	listed := listBackups(ctx, file)
	// A snapshot to restore from would be fetched and read through: an audit asks only
	// how old the backups are.
	looked := *file
	looked.Snapshot = nil
	s.cluster, s.observer.Cluster = &looked, &looked
	obs, err := s.observer.Observe(ctx)
	if err != nil {
		out.Problem = problemOf(err, "it could not be looked at")
		return out
	}
	in := planner.Input{Cluster: s.cluster, Observation: obs, Token: s.token, Now: s.now, By: s.by}
	p := planner.New(in)
	out.ID, out.Quorum = p.ClusterID, p.Before
	backups, err := (<-listed).of(s, p.ClusterID)
	if err != nil {
		out.Problem = problemOf(err, "")
		return out
	}
	out.Findings = append(out.Findings, audit.Of(audit.Input{Input: in, Plan: p, Differences: planner.Differences(in), Backups: backups})...)
	return out
}

// problemOf is an error in words; one that was told already has none of its own.
func problemOf(err error, otherwise string) string {
	if text := err.Error(); text != "" {
		return text
	}
	return otherwise
}

func (a *auditor) write(r audit.Report) error {
	s := style()
	var text []byte
	var err error
	switch a.format {
	case "json":
		text, err = render.AuditJSON(r)
	case "sarif":
		text, err = render.AuditSARIF(fromHere(r, s.Dir), s.Dir)
	case "markdown":
		text = []byte(render.AuditMarkdown(r, render.MarkdownLimit))
	case "prometheus":
		text = []byte(render.AuditPrometheus(r))
	default:
		text = []byte(render.AuditText(r, s))
	}
	if err != nil {
		return err
	}
	if a.out == "" {
		_, err = os.Stdout.Write(text)
		return err
	}
	return writeReport(a.out, text)
}

// fromHere has the paths of files below dir from there, and all others clean: so that one
// file has one name, however it was given.
func fromHere(r audit.Report, dir string) audit.Report {
	name := func(path string) string {
		if path == "" {
			return ""
		}
		whole := path
		if !filepath.IsAbs(path) {
			whole = filepath.Join(dir, path)
		}
		rest, err := filepath.Rel(dir, whole)
		if err != nil || rest == ".." || strings.HasPrefix(rest, "../") {
			return filepath.Clean(path)
		}
		return rest
	}
	r.Clusters = slices.Clone(r.Clusters)
	for i := range r.Clusters {
		c := &r.Clusters[i]
		c.Path, c.Findings = name(c.Path), slices.Clone(c.Findings)
		for j := range c.Findings {
			c.Findings[j].Pos.File = name(c.Findings[j].Pos.File)
		}
	}
	return r
}

// writeReport has the whole report there, or the one of before, at any moment; others may
// read it. It takes the place of an older report, and of nothing else: a link would be
// replaced, not what it leads to.
func writeReport(path string, text []byte) error {
	switch info, err := os.Lstat(path); {
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("--out: %s is a link, and is left as it is; name the file that it leads to", path)
	case err == nil && (!info.Mode().IsRegular() || info.Size() > 0 && !isReport(path)):
		return fmt.Errorf("--out: %s is there already and is no report of an audit; it is left as it is", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".requorum-audit-*")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // made above
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// isReport reports whether a file begins as a report for programs does.
func isReport(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head)
	for _, mark := range []string{"{\n  \"requorum_audit\":", "# HELP requorum_audit_", render.AuditMarker, render.SARIFHead} {
		if bytes.HasPrefix(head[:n], []byte(mark)) {
			return true
		}
	}
	return false
}
