package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/saved"
	"github.com/requorum/requorum/spec"
)

func newDiff(o *options) *cobra.Command {
	var detailed, asJSON bool
	f, c := &form{}, &consent{}
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what a change to the file means, without any cluster",
		Long: `Compares two files or folders by what they say, not how they are written, and
shows the steps that the change would lead to from a cluster that is in sync with
OLD. No cluster, host or network is looked at. Each of OLD and NEW is a path, or
git:REV:PATH for one in a revision of the git repository here. Relative paths in
OLD are taken as if they stood in NEW.

Exit codes: 0 done, 1 error, 6 refused (no safe plan); with --detailed-exitcode
0 nothing to do, 2 changes.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON {
				f.format = "json"
			}
			if err := f.check(); err != nil {
				return err
			}
			given, err := planner.ParseConsents(c.accept)
			if err != nil {
				return err
			}
			was, err := loadSide(cmd, o, args[0])
			if err != nil {
				return err
			}
			next, err := loadSide(cmd, o, args[1])
			if err != nil {
				return err
			}
			return f.diff(was, next, given, detailed)
		},
	}
	addVars(cmd, o)
	f.flags(cmd)
	c.acceptFlag(cmd)
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 2 where there are changes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --format=json")
	return cmd
}

// diff shows what leads from was to next.
func (f *form) diff(was, next *spec.Cluster, given map[planner.Consent]bool, detailed bool) error {
	was, err := saved.Rebase(was, next.Dir, "")
	if err != nil {
		return err
	}
	changes, err := saved.Diff(was, next)
	if err != nil {
		return err
	}
	planned := *next
	if was.ID == "" || was.ID == next.ID {
		planned.ID = "" // the cluster is made up, and has another
	}
	in := planner.Input{Cluster: &planned, Token: "requorum-diff", Now: time.Now().UTC().Format(time.RFC3339), By: operator(), Accept: given}
	obs, impossible := planner.InSync(was)
	in.Observation = planner.SeenThrough(was, next, obs)
	p := planner.New(in)
	if impossible != nil && p.Refusal == nil { // else the refusal says more
		return fmt.Errorf("what the change leads to can't be told, for no cluster as OLD says can be made: %w", impossible)
	}
	doc, err := saved.Encode(in, p, saved.About{Version: version, Basis: saved.BasisDiff, Changes: changes})
	if err != nil {
		return err
	}
	file, err := saved.Parse(doc)
	if err != nil {
		return err
	}
	if err := f.print(file, doc); err != nil {
		return err
	}
	if p.Refusal == nil && detailed && len(changes) > 0 {
		return exitWith(exitChanges, nil)
	}
	return endOfPlan(p, detailed)
}

// loadSide reads one side of a diff.
func loadSide(cmd *cobra.Command, o *options, arg string) (*spec.Cluster, error) {
	rest, isGit := strings.CutPrefix(arg, "git:")
	if !isGit {
		c, err := loadCluster(cmd, o, arg)
		if err != nil {
			return nil, err
		}
		return oneFolder(c)
	}
	rev, name, ok := strings.Cut(rest, ":")
	if !ok || rev == "" || name == "" || strings.HasPrefix(rev, "-") {
		return nil, fmt.Errorf("%s is not git:REV:PATH", arg)
	}
	dir, err := os.MkdirTemp("", "requorum-diff-*")
	if err != nil {
		return nil, err
	}
	defer dropCheckout(dir)
	at, err := checkOut(cmd.Context(), rev, name, dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	c, err := loadCluster(cmd, o, at)
	if err == nil {
		c, err = oneFolder(c)
	}
	if err != nil {
		return nil, err
	}
	folder := strings.TrimSuffix(name, "/")
	if at != dir {
		folder = path.Dir(name)
	}
	here, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	return saved.Rebase(c, here, "git:"+rev+":"+folder)
}

// oneFolder gives c with its folder under the one name that its members'
// directories have already.
func oneFolder(c *spec.Cluster) (*spec.Cluster, error) {
	real, err := filepath.EvalSymlinks(c.Dir)
	if err != nil {
		return nil, err
	}
	return saved.Rebase(c, real, "")
}

// dropCheckout removes the folder that loadSide made.
func dropCheckout(dir string) { _ = os.RemoveAll(dir) }

// checkOut puts the folder that name is, or is in, as it was at rev, below dir, and
// gives the path of name there. The repository and its work tree are only read.
func checkOut(ctx context.Context, rev, name, dir string) (string, error) {
	name = path.Clean(filepath.ToSlash(name))
	kind, err := git(ctx, "cat-file", "-t", rev+":./"+name)
	if err != nil {
		return "", err
	}
	folder := name
	if strings.TrimSpace(string(kind)) != "tree" {
		folder = path.Dir(name)
	}
	tree, err := git(ctx, "rev-parse", "--verify", "--end-of-options", rev+":./"+folder)
	if err != nil {
		return "", err
	}
	// In a folder of the work tree archive takes that folder out of the tree again.
	dotGit, err := git(ctx, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return "", err
	}
	where := strings.TrimSuffix(string(dotGit), "\n")
	b, err := git(ctx, "-C", where, "--git-dir="+where, "archive", "--format=tar", strings.TrimSpace(string(tree)))
	if err != nil {
		return "", err
	}
	if err := untar(b, dir); err != nil {
		return "", err
	}
	if folder == name {
		return dir, nil
	}
	return filepath.Join(dir, path.Base(name)), nil
}

func git(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(said.String()); text != "" {
			return nil, errors.New(text)
		}
		return nil, fmt.Errorf("git: %w", err)
	}
	return out.Bytes(), nil
}

// untar writes the plain files of an archive below dir, and nothing outside of it.
func untar(b []byte, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(path.Clean(h.Name), 0o700)
		case tar.TypeReg:
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = root.WriteFile(path.Clean(h.Name), data, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
}
