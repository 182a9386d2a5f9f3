// Command requorum brings an etcd cluster to what an HCL file says.
//
// Exit codes, which are a contract:
//
//	plan      0 done (with --detailed-exitcode: nothing to do), 1 error,
//	          2 changes (only with --detailed-exitcode), 6 refused
//	diff      as plan
//	apply     0 done, 1 error before anything changed, 3 declined, 4 stale,
//	stop      5 locked, 6 refused or consent missing, 7 stopped part-way by a
//	          failure, 8 interrupted at a safe point
//	status    0 healthy and as the file says, 2 not, 1 unknown
//	audit     0 no finding as bad as --fail-on, 2 findings, 1 error: not all could
//	          be looked at
//	validate  0 or 1
//	show      0 or 1
//	fmt       0 or 1
//	import    0 done, 1 error, 6 refused
//	rescue    0 done, 1 error, 6 refused
//	log       0 or 1
//	lock      status: 0 nobody is at work, 5 somebody is, 1 error or unknown;
//	          release: 0 done, 1 error, 6 consent missing
//	snapshot  0 saved, proven, shown, written out or come back whole, 1 not
//	          (save --all: not from all), 8 interrupted, and nothing is left of it
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mitchellh/go-wordwrap"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// interruptGrace is for a verb that only looks to end by itself.
const interruptGrace = time.Second

// The exit codes.
const (
	exitOK          = 0
	exitError       = 1
	exitChanges     = 2
	exitDeclined    = 3
	exitStale       = 4
	exitLocked      = 5
	exitRefused     = 6
	exitPartWay     = 7
	exitInterrupted = 8
)

// exit is an error that ends the program with a code of its own; its text, if
// any, was for the person at the terminal.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func exitWith(code int, err error) error { return &exit{code: code, err: err} }

func main() {
	if len(os.Args) > 1 && os.Args[1] == "etcd" {
		// etcd reads its own flags, and for its proxies os.Args as well.
		os.Args = os.Args[1:]
		etcdmain.Main(os.Args)
		return
	}
	os.Exit(run())
}

func run() int {
	ctx, stop := interruptible()
	defer stop()
	err := newRoot().ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := codeOf(err)
	if code == exitError && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; nothing was changed")
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, wordwrap.WrapString("requorum: "+text, uint(widthOf(os.Stderr))))
	}
	return code
}

// codeOf is the exit code of an error; nil has exitOK.
func codeOf(err error) int {
	var e *exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	}
	return exitError
}

// atOnce is what is drawn on the terminal while a plan is carried out; who ends the
// program at once leaves a whole line.
var atOnce atomic.Pointer[progress]

// acting is whether the verb changes things and so has to end at a safe point.
var acting atomic.Bool

// tidies is acting for a verb that must come to an end of its own, with files to remove
// or a step to finish: who reads its output may go away, and then a write fails,
// instead of a SIGPIPE that ends it.
func tidies() {
	acting.Store(true)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// samePress is for how long a second signal counts as the first one: sudo, make and the
// like pass on what the terminal has sent to everybody.
const samePress = 500 * time.Millisecond

// interruptible gives a context that the first SIGINT, SIGTERM or SIGHUP ends; the
// second, a moment later, ends the program at once, and so does the first where nothing
// can be left half done. Under nohup a SIGHUP stays ignored.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP) // the terminal has gone: no reason to stop in the midst of a step
	}
	go func() {
		<-signals
		cancel()
		if !acting.Load() {
			time.Sleep(interruptGrace)
			os.Exit(exitError)
		}
		for pressed := time.Now(); time.Since(pressed) < samePress; {
			<-signals
		}
		if shown := atOnce.Load(); shown != nil {
			shown.end()
		}
		fmt.Fprintln(os.Stderr, "requorum: ended at once, perhaps in the midst of a step; requorum plan gives the rest of the way")
		os.Exit(exitPartWay)
	}()
	return ctx, cancel
}
