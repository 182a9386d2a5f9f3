package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// Tally is a file of rounds that were run, a line of JSON for each, so that a long
// run goes on where the last one stopped.
type Tally[T any] struct {
	mu    sync.Mutex
	f     *os.File
	lines []T
}

// OpenTally reads what is there. A last line that was cut short by a kill is taken
// off, and its round is run again.
func OpenTally[T any](path string) (*Tally[T], error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	t := &Tally[T]{f: f}
	if err := t.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func (t *Tally[T]) read() error {
	r, whole := bufio.NewReader(t.f), int64(0)
	for {
		b, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if err := t.f.Truncate(whole); err != nil {
				return err
			}
			_, err := t.f.Seek(whole, io.SeekStart)
			return err
		}
		if err != nil {
			return err
		}
		var l T
		if err := json.Unmarshal(bytes.TrimSpace(b), &l); err != nil {
			return fmt.Errorf("line %d: %w", len(t.lines)+1, err)
		}
		t.lines, whole = append(t.lines, l), whole+int64(len(b))
	}
}

// Close closes the file.
func (t *Tally[T]) Close() error { return t.f.Close() }

// Lines are the rounds so far.
func (t *Tally[T]) Lines() []T {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// Add writes a round down.
func (t *Tally[T]) Add(l T) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := t.f.Write(append(b, '\n')); err != nil {
		return err
	}
	t.lines = append(t.lines, l)
	return t.f.Sync()
}

// Workplace makes the folder of a long run, in the user's cache by name where
// folder is empty, which one run at a time has, and ends what a run that was killed
// left in it. work is its part that is empty, and becomes TMPDIR.
func Workplace(name, folder string) (dir, work string, leave func(), err error) {
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", "", nil, err
		}
		folder = filepath.Join(cache, "requorum", name)
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return "", "", nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", "", nil, err
	}
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", "", nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", "", nil, fmt.Errorf("another run is at work in %s", folder)
	}
	work = filepath.Join(folder, "work")
	empty := func() error { // the runs' own clusters, and nothing else's
		return errors.Join(EndAll(work), os.RemoveAll(work))
	}
	if err := errors.Join(empty(), os.Mkdir(work, 0o700), os.Setenv("TMPDIR", work)); err != nil {
		return "", "", nil, err
	}
	return folder, work, func() {
		if err := empty(); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
		}
		lock.Close()
	}, nil
}
