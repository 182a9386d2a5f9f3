package bed

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watching is set, to a number and a folder, in the environment of the process that
// takes a bed away where its test can't: after a panic, a time-out, a Ctrl-C, a
// kill -9.
const watching = "REQUORUM_BED_WATCH"

func init() {
	if what := os.Getenv(watching); what != "" {
		if err := watch(what); err != nil {
			fmt.Fprintln(os.Stderr, "bed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// startWatcher starts this program once more. It holds one end of a pipe, whose
// other end is only here.
func (b *Bed) startWatcher() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", watching, b.claim.number, b.Dir))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is not for it
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	b.watcher = cmd
	return cmd.Start()
}

// stopWatcher lets it go: there is nothing to take away any more.
func (b *Bed) stopWatcher() {
	if b.watcher != nil {
		_ = b.watcher.Process.Kill()
		_ = b.watcher.Wait()
	}
}

// watch waits until nobody holds the pipe's other end.
func watch(what string) error {
	first, dir, _ := strings.Cut(what, " ")
	number, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	for range 100 {
		c, ok := claimNumber(number)
		if !ok { // its owner is about to end, or the next one was faster
			time.Sleep(20 * time.Millisecond)
			continue
		}
		defer c.release()
		return tearDown(context.Background(), number, dir)
	}
	return nil
}
