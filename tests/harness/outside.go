package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

// Use names the requorum that programs run which have no TestMain.
func Use(requorum string) { binary = requorum }

// Outside runs f as a test is run, in a program that is none: what f is given
// serves wherever this package wants a testing.TB. What f leaves to Cleanup is
// done also where it fails, and nothing of its folder is left then unless keep says
// so. The error is all that was reported; log is what else was said.
func Outside(ctx context.Context, name string, f func(t testing.TB), keep func(dir string)) (log string, err error) {
	t := &outside{ctx: ctx, name: name}
	done := make(chan struct{})
	go func() { // Fatal ends a goroutine
		defer close(done)
		defer t.end(keep)
		defer t.catch()
		f(t)
	}()
	<-done
	return t.log.String(), errors.Join(t.errs...)
}

// outside is a test without the testing package's runner. A method that it lacks
// is a nil pointer's, and fails loudly.
type outside struct {
	testing.TB
	ctx  context.Context
	name string

	mu       sync.Mutex
	dirs     []string
	errs     []error
	log      bytes.Buffer
	cleanups []func()
}

func (t *outside) catch() {
	if p := recover(); p != nil {
		t.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

// end runs the cleanups, the last one first, and removes the folders.
func (t *outside) end(keep func(dir string)) {
	for n := len(t.cleanups); n > 0; n = len(t.cleanups) {
		last := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.guarded(last)
	}
	for _, dir := range t.dirs {
		if t.Failed() && keep != nil {
			keep(dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

// guarded runs f to its end, a Fatal included.
func (t *outside) guarded(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.catch()
		f()
	}()
	<-done
}

func (t *outside) Helper()                  {}
func (t *outside) Name() string             { return t.name }
func (t *outside) Context() context.Context { return t.ctx }

func (t *outside) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *outside) TempDir() string {
	dir, err := os.MkdirTemp("", "requorum-"+strings.ReplaceAll(t.name, "/", "-")+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirs = append(t.dirs, dir)
	return dir
}

func (t *outside) report(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs = append(t.errs, err)
}

func (t *outside) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.errs) > 0
}

func (t *outside) Error(args ...any)            { t.report(errors.New(fmt.Sprint(args...))) }
func (t *outside) Errorf(f string, args ...any) { t.report(fmt.Errorf(f, args...)) }

func (t *outside) Fatal(args ...any) {
	t.Error(args...)
	runtime.Goexit()
}

func (t *outside) Fatalf(f string, args ...any) {
	t.Errorf(f, args...)
	runtime.Goexit()
}

func (t *outside) Log(args ...any) { t.Logf("%s", fmt.Sprint(args...)) }

func (t *outside) Logf(f string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(&t.log, f+"\n", args...)
}
