package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/requorum/requorum/spec/load"
)

// formatter is the fmt verb.
type formatter struct {
	check, diff, recursive bool
	changed                int
	failed                 []error // of single files
}

func newFmt() *cobra.Command {
	f := &formatter{}
	cmd := &cobra.Command{
		Use:   "fmt [PATH…]",
		Short: "Rewrite files in the canonical layout",
		Long: `Rewrites *.hcl files in the one layout there is, and names those it changed. A
PATH of - reads from stdin and writes to stdout.

Exit codes: 0, or 1 for an error, and with --check where a file would change.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			return f.run(cmd.InOrStdin(), args)
		},
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "change nothing; exit 1 where a file would change")
	cmd.Flags().BoolVar(&f.diff, "diff", false, "show the changes")
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "go into sub-folders")
	return cmd
}

// run formats all paths, also after one of them failed.
func (f *formatter) run(in io.Reader, paths []string) error {
	var errs []error
	for _, path := range paths {
		if path == "-" {
			errs = append(errs, f.stream(in))
		} else {
			errs = append(errs, f.path(path))
		}
	}
	if err := errors.Join(append(errs, f.failed...)...); err != nil {
		return err
	}
	if f.check && f.changed > 0 {
		return exitWith(exitError, nil)
	}
	return nil
}

func (f *formatter) stream(in io.Reader) error {
	src, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	out, err := formatted(src, "<stdin>")
	if err != nil {
		return err
	}
	if !bytes.Equal(src, out) {
		f.changed++
	}
	if f.check {
		return nil
	}
	_, err = os.Stdout.Write(out)
	return err
}

func (f *formatter) path(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file or folder %q", path)
	case err != nil:
		return err
	case !info.IsDir():
		return f.file(path)
	}
	return filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != path && (!f.recursive || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(p, ".hcl"):
			if err := f.file(p); err != nil {
				f.failed = append(f.failed, err)
			}
		}
		return nil
	})
}

func (f *formatter) file(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out, err := formatted(src, path)
	if err != nil || bytes.Equal(src, out) {
		return err
	}
	f.changed++
	fmt.Println(path)
	if f.diff {
		fmt.Print(string(diff.Diff(path, src, path+" (formatted)", out)))
	}
	if f.check {
		return nil
	}
	return replace(path, out)
}

func formatted(src []byte, name string) ([]byte, error) {
	out, diags := load.Format(src, name)
	if diags.HasErrors() {
		return nil, errors.New(diags.Error())
	}
	return out, nil
}

// replace writes the file anew in one step, with the mode it had.
func replace(path string, content []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".requorum-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // our own temporary file; gone already when renamed
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
