package survivor

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/requorum/requorum/executor/snapshot"
)

// Prove reads a stopped member's log and all of its db, as Recover does before
// it uses the copy: every page, every record, and each value that the log is a
// witness of. It changes nothing and takes no lock, so that it can be asked
// before anything is stopped, fenced or copied. What the package's comment says
// of what can't be proven holds here too.
//
// The error says what is wrong; it wraps ctx's where that ended.
func Prove(ctx context.Context, dataDir, walDir string, progress func(what string, done, total int64)) (err error) {
	defer func() {
		if p := recover(); p != nil { // of etcd's own packages, on bytes that they don't expect
			err = fmt.Errorf("%v", p)
		}
	}()
	if walDir == "" {
		walDir = filepath.Join(dataDir, "member", "wal")
	}
	s := &source{}
	if s.raftLog, err = readLog(walDir); err != nil {
		return fmt.Errorf("%s: %w", walDir, err)
	}
	if err := s.findDB(dataDir); err != nil {
		return err
	}
	j := &job{src: s, tell: Progress(progress).tell}
	if j.before, err = prove(ctx, s.db, snapshot.Want{SkipHashCheck: true}, j.tell); err != nil {
		return err
	}
	if j.db, err = readDBState(s.db); err != nil {
		return err
	}
	return j.checkValues(ctx, s.db, j.db.size, j.appliedEntries())
}
