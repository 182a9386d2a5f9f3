package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/requorum/requorum/executor/etcd"
	"github.com/requorum/requorum/executor/snapshot"
	"github.com/requorum/requorum/executor/snapshot/source"
	"github.com/requorum/requorum/planner/render"
)

// exporter is the export verb.
type exporter struct {
	snapshotFile
	stoppedCopy
	opts   snapshot.ExportOptions
	format string
	to     string
}

func newSnapshotExport() *cobra.Command {
	e := &exporter{}
	cmd := &cobra.Command{
		Use:   "export FILE|URL",
		Short: "Write out the keys and values of a snapshot, or of a stopped member's directory",
		Long: `Proves the file as requorum snapshot verify does and writes out its keys, in their
order, as etcd would serve them: the newest version of each that is not deleted, or
the one as of --at-revision. With --data-dir they are those of a stopped member's
directory, with all that its log holds. Nothing is changed, and no cluster is asked.

--format json is one JSON object a line: key, value, create_revision, mod_revision,
version and, where there is one, lease in hex; a key or value that is no UTF-8 stands
in key_base64 or value_base64. keys is one key a line, quoted as Go does where it is
not printable. simple is key and value, each with a line end, as etcdctl get prints
them.

Memory is bounded whatever the size; what does not fit is sorted in a file without a
name below --scratch.

Exit codes: 0 done, 1 not proven or not written in full (nothing is said where the
reader of a pipe went away), 8 interrupted (stdout may
have a part of it; a file has all or is not there).`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return e.run(cmd, args) },
	}
	e.snapshotFile.proofFlags(cmd)
	e.stoppedCopy.flags(cmd, "export")
	cmd.Flags().StringVar(&e.opts.Prefix, "prefix", "", "only keys that begin with `TEXT`")
	cmd.Flags().Int64Var(&e.opts.Revision, "at-revision", 0, "as of revision `R` (0: the newest)")
	cmd.Flags().StringVar(&e.format, "format", "json", "`FORMAT`: json, keys or simple")
	cmd.Flags().StringVar(&e.to, "to", "", "write to `FILE`, which must not exist, 0600 (default: stdout)")
	return cmd
}

func (e *exporter) run(cmd *cobra.Command, args []string) error {
	write := map[string]func(*bufio.Writer, *mvccpb.KeyValue) error{"json": writeJSON, "keys": writeKey, "simple": writeSimple}[e.format]
	switch {
	case write == nil:
		return fmt.Errorf("--format: json, keys or simple, not %q", e.format)
	case e.opts.Revision < 0:
		return errors.New("--at-revision: 0 (the newest) or more")
	}
	if err := e.stoppedCopy.check(args); err != nil {
		return err
	}
	ctx := cmd.Context()
	tidies() // what was begun is removed before the end
	path, shown, done, err := e.source(cmd, &e.snapshotFile, args)
	if err != nil {
		return err
	}
	defer done()
	e.opts.Want, e.opts.Scratch = e.want, e.scratch
	out, err := e.open()
	if err != nil {
		return err
	}
	defer out.close()
	w := bufio.NewWriterSize(out.w, 1<<20)
	got, err := snapshot.Export(ctx, path, e.opts, func(kv *mvccpb.KeyValue) error { return write(w, kv) }, e.progress.show)
	e.progress.clear()
	if ctx.Err() != nil {
		return exitWith(exitInterrupted, errors.New("interrupted; not all was written"))
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = out.publish()
	}
	switch {
	case errors.Is(err, syscall.EPIPE): // as of head: it has what it wanted
		return exitWith(exitError, nil)
	case err != nil:
		return e.refuse(cmd, err)
	}
	s := style()
	fmt.Fprint(os.Stderr, render.Paragraph(fmt.Sprintf("Exported: %s as of revision %d, of %s", render.Count(got.Keys, "key"), got.At, shown), s))
	return nil
}

// exportFile is where the keys go: stdout, or a file that gets its name when all is
// in it.
type exportFile struct {
	w    io.Writer
	f    *os.File
	work *workFolder
	to   string
}

func (e *exporter) open() (*exportFile, error) {
	if e.to == "" {
		return &exportFile{w: os.Stdout}, nil
	}
	if _, err := os.Lstat(e.to); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s is there already, and is never written over", e.to)
		}
		return nil, fmt.Errorf("--to: %w", err)
	}
	for _, note := range dropWork(filepath.Dir(e.to), savingPrefix) {
		fmt.Fprintln(os.Stderr, note)
	}
	work, err := newWork(filepath.Dir(e.to), savingPrefix)
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(work.dir, "keys"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(err, work.remove())
	}
	return &exportFile{source.RoomWriter(f, "name another file (--to)"), f, work, e.to}, nil
}

func (x *exportFile) publish() error {
	if x.f == nil {
		return nil
	}
	if err := errors.Join(x.f.Sync(), x.f.Close()); err != nil {
		return err
	}
	return etcd.Publish(x.f.Name(), x.to)
}

func (x *exportFile) close() {
	if x.work != nil {
		_ = x.f.Close()
		_ = x.work.remove()
	}
}

type exportedKey struct {
	Key         *string `json:"key,omitempty"`
	KeyBase64   string  `json:"key_base64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 string  `json:"value_base64,omitempty"`
	Create      int64   `json:"create_revision"`
	Mod         int64   `json:"mod_revision"`
	Version     int64   `json:"version"`
	Lease       string  `json:"lease,omitempty"`
}

func writeJSON(w *bufio.Writer, kv *mvccpb.KeyValue) error {
	out := exportedKey{Create: kv.CreateRevision, Mod: kv.ModRevision, Version: kv.Version}
	text := func(b []byte) (*string, string) {
		if utf8.Valid(b) {
			s := string(b)
			return &s, ""
		}
		return nil, base64.StdEncoding.EncodeToString(b)
	}
	out.Key, out.KeyBase64 = text(kv.Key)
	out.Value, out.ValueBase64 = text(kv.Value)
	if kv.Lease != 0 {
		out.Lease = strconv.FormatUint(uint64(kv.Lease), 16)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

func writeKey(w *bufio.Writer, kv *mvccpb.KeyValue) error {
	key := string(kv.Key)
	if !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		key = strconv.Quote(key)
	}
	_, err := w.WriteString(key + "\n")
	return err
}

func writeSimple(w *bufio.Writer, kv *mvccpb.KeyValue) error {
	for _, b := range [][]byte{kv.Key, kv.Value} {
		if _, err := w.Write(b); err != nil {
			return err
		}
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// stoppedCopy is a directory in place of a file: what is looked into is a snapshot
// made of it, which is removed afterwards.
type stoppedCopy struct {
	stopped
	scratch    string
	modifiedAt string // of what source brought, RFC 3339; "" if unknown
}

func (s *stoppedCopy) flags(cmd *cobra.Command, what string) {
	s.stopped.flags(cmd, what)
	cmd.Flags().StringVar(&s.scratch, "scratch", "", "make copies below `DIR` (default: TMPDIR, or /tmp)")
}

func (s *stoppedCopy) check(args []string) error {
	switch {
	case s.dataDir == "" && len(args) == 0:
		return errors.New("name a FILE or URL, or a stopped member's directory with --data-dir")
	case s.dataDir != "" && len(args) > 0:
		return errors.New("either FILE or --data-dir")
	}
	return s.stopped.check()
}

// source brings what was named to a file. done removes what was made for it. Its
// errors are exits: a refusal is shown already.
func (s *stoppedCopy) source(cmd *cobra.Command, f *snapshotFile, args []string) (path, shown string, done func(), err error) {
	done = func() {}
	if s.dataDir == "" {
		got, err := f.fetch(cmd, args[0])
		s.modifiedAt = got.ModifiedAt
		return got.Path, got.Origin, done, err
	}
	f.progress = newDials()
	ctx := cmd.Context()
	d, _, err := s.look(ctx)
	if err != nil {
		return "", "", done, f.refuse(cmd, err)
	}
	parent := s.scratch
	if parent == "" {
		parent = os.TempDir()
	}
	dropWork(parent, scratchPrefix)
	work, err := newWork(parent, scratchPrefix)
	if err != nil {
		return "", "", done, fmt.Errorf("--scratch: %w", err)
	}
	done = func() { _ = work.remove() }
	path = filepath.Join(work.dir, "snapshot.db")
	if _, err := s.snapshot(ctx, d, work.dir, path, f.progress.show); err != nil {
		done()
		if ctx.Err() != nil {
			return "", "", func() {}, exitWith(exitInterrupted, context.Cause(ctx))
		}
		f.progress.clear()
		return "", "", func() {}, f.refuse(cmd, err)
	}
	f.progress.clear()
	fmt.Fprint(os.Stderr, render.Paragraph("Note: "+unprovable(s.dataDir), style()))
	if text := s.doubtText(d); text != "" {
		fmt.Fprint(os.Stderr, render.Paragraph("Note: "+text, style()))
	}
	if at, err := etcd.LastWritten(s.dataDir, s.walDir); err == nil {
		s.modifiedAt = at.UTC().Format(time.RFC3339)
	}
	return path, fmt.Sprintf("%s (%s)", s.dataDir, stoppedName(d)), done, nil
}
