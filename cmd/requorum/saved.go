package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/saved"
	"github.com/requorum/requorum/spec/load"
)

// maxSaved is more than the plan of any cluster has.
const maxSaved = 256 << 20

// isSaved reports whether there is a file at path that begins as a saved plan does.
func isSaved(path string) bool {
	if info, err := os.Stat(path); err != nil || info.IsDir() || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, 512)
	n, err := io.ReadFull(f, b)
	return (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) && saved.Is(b[:n])
}

// readSaved reads a saved plan; path "-" is stdin.
func readSaved(path string) (*saved.File, []byte, error) {
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(bufio.NewReader(in), maxSaved+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(b) > maxSaved:
		return nil, nil, fmt.Errorf("%s is too large for a plan", path)
	case !saved.Is(b):
		return nil, nil, fmt.Errorf("%s is no saved plan: its first key would be \"requorum_plan\". Make one with requorum plan --out=FILE", path)
	}
	f, err := saved.Parse(b)
	return f, b, err
}

// ephemeralOf are the secrets of a configuration.
func ephemeralOf(r load.Result) []saved.Ephemeral {
	out := []saved.Ephemeral{}
	for _, e := range r.Ephemeral {
		out = append(out, saved.Ephemeral{Attribute: e.Attribute, Variable: e.Variable})
	}
	return out
}

// machineName is this one's name; what "this machine" in a plan means.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// showAndSave prints a plan and, where out is given, writes it there.
func showAndSave(o *options, in planner.Input, p *planner.Plan, asJSON bool, out, path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	doc, err := saved.Encode(in, p, saved.About{
		Version: version, Machine: machineName(), Source: abs, Basis: saved.BasisObserved, Ephemeral: o.ephemeral,
	})
	if err != nil {
		return err
	}
	if out != "" {
		if err := writeSaved(out, doc); err != nil {
			return err
		}
	}
	if asJSON {
		_, err := os.Stdout.Write(doc)
		return err
	}
	if err := show(p, false); err != nil || out == "" {
		return err
	}
	f, err := saved.Parse(doc)
	if err != nil {
		return err
	}
	fmt.Printf("\nSaved as %s, digest %s.\n", out, f.Digest)
	if p.Refusal == nil {
		fmt.Printf("  To apply exactly this plan: requorum apply --expect=%s %s\n", f.Digest, out)
	}
	return nil
}

// writeSaved writes a plan, whole or not at all, for its owner's eyes. It takes the
// place of an older plan, and of nothing else.
func writeSaved(path string, doc []byte) error {
	if info, err := os.Stat(path); err == nil && (info.IsDir() || info.Size() > 0 && !isSaved(path)) {
		return fmt.Errorf("--out: %s is there already and is no saved plan; it is left as it is", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".requorum-plan-*") // 0600
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	_, err = f.Write(doc)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // made above
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}
