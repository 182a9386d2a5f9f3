package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
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
			next, err := loadSide(cmd, o, args[1], "")
			if err != nil {
				return err
			}
			was, err := loadSide(cmd, o, args[0], next.Dir)
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
	changes, err := saved.Diff(was, next)
	if err != nil {
		return err
	}
	planned := *next
	if was.ID == "" || was.ID == next.ID {
		planned.ID = "" // the cluster is made up, and has another
	}
	in := planner.Input{Cluster: &planned, Token: "requorum-diff", Now: time.Now().UTC().Format(time.RFC3339), By: operator(), Accept: given}
	// Where nothing changes nothing is to be planned: also not for a file that this
	// version could not carry out.
	p := &planner.Plan{
		Format: planner.FormatVersion, Cluster: next.Name, Route: planner.RouteInSync, Headline: "no change in meaning",
		Members: []planner.MemberLine{}, Steps: []planner.Step{}, Loss: planner.Loss{Kind: planner.LossNone},
	}
	if len(changes) > 0 {
		obs, impossible := planner.InSync(was)
		in.Observation = planner.SeenThrough(was, next, obs)
		p = planner.New(in)
		if impossible != nil && p.Refusal == nil { // else the refusal says more
			return fmt.Errorf("what the change leads to can't be told, for no cluster as OLD says can be made: %w", impossible)
		}
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

// loadSide reads one side of a diff, its relative paths as if they stood in the
// folder as; "" for where they do.
func loadSide(cmd *cobra.Command, o *options, arg, as string) (*spec.Cluster, error) {
	side := *o
	side.asDir = as
	rest, isGit := strings.CutPrefix(arg, "git:")
	if !isGit {
		return loadCluster(cmd, &side, arg)
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
	folder := strings.TrimSuffix(name, "/")
	if at != dir {
		folder = path.Dir(name)
	}
	if as == "" {
		if side.asDir, err = filepath.Abs(folder); err != nil {
			return nil, err
		}
	}
	c, err := loadCluster(cmd, &side, at)
	if err != nil {
		return nil, err
	}
	return saved.NameFiles(c, dir, "git:"+rev+":"+folder)
}

// dropCheckout removes the folder that loadSide made.
func dropCheckout(dir string) { _ = os.RemoveAll(dir) }

// checkOut puts the folder that name is, or is in, as it was at rev, below dir, and
// gives the path of name there: byte for byte what the revision has, whatever
// attributes and filters say. The repository and its work tree are only read, and
// nothing that is missing there is fetched.
func checkOut(ctx context.Context, rev, name, dir string) (string, error) {
	name = path.Clean(filepath.ToSlash(name))
	kind, err := git(ctx, nil, "cat-file", "-t", rev+":./"+name)
	if err != nil {
		return "", err
	}
	folder := name
	if strings.TrimSpace(string(kind)) != "tree" {
		folder = path.Dir(name)
	}
	tree, err := git(ctx, nil, "rev-parse", "--verify", "--end-of-options", rev+":./"+folder)
	if err != nil {
		return "", err
	}
	list, err := git(ctx, nil, "ls-tree", "-r", "-z", "--full-tree", strings.TrimSpace(string(tree)))
	if err != nil {
		return "", err
	}
	var names []string
	var ask bytes.Buffer
	for _, line := range strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		head, file, _ := strings.Cut(line, "\t")
		fields := strings.Fields(head) // mode, type, object
		switch {
		case line == "":
			continue
		case len(fields) == 3 && fields[1] == "blob" && strings.HasPrefix(fields[0], "100"):
			names = append(names, file)
			fmt.Fprintln(&ask, fields[2])
		case len(fields) == 3 && fields[0] == "120000":
			return "", fmt.Errorf("%s is a symbolic link there, and what it leads to is not in the revision's folder for sure; compare a checkout of it instead", path.Join(folder, file))
		default:
			return "", fmt.Errorf("%s is no file there (%s); compare a checkout of it instead", path.Join(folder, file), head)
		}
	}
	files, err := git(ctx, &ask, "cat-file", "--batch")
	if err != nil {
		return "", err
	}
	if err := unpack(files, names, dir); err != nil {
		return "", err
	}
	if folder == name {
		return dir, nil
	}
	return filepath.Join(dir, path.Base(name)), nil
}

// unpack writes what cat-file --batch gave for these files below dir, and nothing
// outside of it.
func unpack(b []byte, names []string, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range names {
		head, rest, _ := bytes.Cut(b, []byte("\n"))
		fields := strings.Fields(string(head)) // object, type, size
		size := -1
		if len(fields) == 3 && fields[1] == "blob" {
			size, err = strconv.Atoi(fields[2])
		}
		if size < 0 || err != nil || len(rest) < size+1 {
			return fmt.Errorf("%s can't be read from the repository (%s)", name, head)
		}
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return err
		}
		if err := root.WriteFile(name, rest[:size], 0o600); err != nil {
			return err
		}
		b = rest[size+1:]
	}
	return nil
}

// git runs git without a network: what a partial clone does not have is missing.
func git(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = append(os.Environ(), "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none", "GIT_TERMINAL_PROMPT=0")
	cmd.Stdin = in
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
