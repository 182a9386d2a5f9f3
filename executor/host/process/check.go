package process

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// refusal is a start that would do harm; it is not tried again.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// mayStart is asked before each start of etcd. It returns a *refusal where
// starting would do harm, and leaves the marker Ran behind otherwise.
func (s *supervisor) mayStart() error {
	c := s.cfg
	why := fenced(s.layout)
	if why != "" && !c.Bootstrap {
		return refuse("%s", why)
	}
	if why == "" {
		if err := s.others(); err != nil {
			return err
		}
	}
	// A service of another kind runs no copy of requorum's.
	if _, err := os.Stat(c.Private); err != nil && s.own == nil {
		return refuse("requorum's private copy of etcd can't be used: %v", err)
	}
	ran, err := ReadRan(s.layout)
	if err != nil && !absent(err) {
		return err
	}
	unmarked := err != nil
	markers, err := Markers(s.layout)
	if err != nil {
		return err
	}
	// Its own marker has moved where a restore is being staged for the place.
	never := (unmarked || ran.Untouched(c.DataDir)) && !RanUnder(c.Token, markers)
	if c.Bootstrap && s.nothingYet() && never {
		return s.bootstrap()
	}
	if why != "" { // it ran before, or a log of its own is still there
		return refuse("%s", why)
	}
	if err := dropPlainFile(s.layout); err != nil { // of a start that died
		return err
	}
	if err := s.checkIdentity(never); err != nil {
		return err
	}
	if unmarked || ran.Token != c.Token {
		return writeJSON(s.layout.Ran(), Ran{Token: c.Token, Name: c.Name, When: timestamp()})
	}
	return nil
}

// others says who else is, or may soon be, on the data directory. It is asked again
// later: it may be a tool that is soon done.
func (s *supervisor) others() error {
	c := s.cfg
	if p, _, found := find(s.layout); found {
		return fmt.Errorf("process %d, which requorum did not start, has the data directory %s in its command line", p.PID, c.DataDir)
	}
	if users, err := users(c.DataDir, c.WALDir); err == nil && len(users) > 0 {
		return fmt.Errorf("process %d, which requorum did not start, runs on the data directory %s", users[0].PID, c.DataDir)
	}
	return nil
}

// nothingYet is true on a fence too: what is behind it lies elsewhere.
func (s *supervisor) nothingYet() bool {
	c, l := s.cfg, s.layout
	if c.WALDir != "" && !Vacant(c.WALDir) {
		return false
	}
	if l.FenceText() == "" {
		return vacantBut(c.DataDir, "")
	}
	return !l.Inside || vacantBut(c.DataDir, "member")
}

// gapPatience is how long a start waits for a moment in which nobody else tries the
// path; on a fence each of them ends by itself.
const gapPatience = 5 * time.Second

// bootstrap is sealAndMark, which on a fence is tried again at once: a loop that
// starts the old command leaves only short gaps.
func (s *supervisor) bootstrap() error {
	for end := time.Now().Add(gapPatience); ; time.Sleep(poll) {
		err := s.sealAndMark()
		var harm *refusal
		if err == nil || errors.As(err, &harm) || s.layout.FenceText() == "" || time.Now().After(end) {
			return err
		}
	}
}

// sealAndMark makes the empty directory of a bootstrap, in the place of a fence
// where one stands, and records, durably, that etcd is about to run in it.
func (s *supervisor) sealAndMark() error {
	if err := s.others(); err != nil {
		return err
	}
	opened, err := openFence(s.layout)
	if err != nil {
		return err
	}
	if s.own != nil { // before the seal, which a change of the owner would break
		if err := s.own(); err != nil {
			return err
		}
	}
	seal, err := sealEmpty(s.cfg.DataDir)
	if err != nil {
		return err
	}
	if opened {
		// Whoever starts the old command may have got hold of it by now: then there
		// is no second one, and where it wrote nothing yet the fence comes back.
		if err := s.others(); err != nil {
			return errors.Join(err, closeFence(s.layout))
		}
	}
	if !s.nothingYet() {
		return refuse("something was written to %s while the member was being started", s.cfg.DataDir)
	}
	if err := writeJSON(s.layout.Ran(), Ran{Token: s.cfg.Token, Name: s.cfg.Name, When: timestamp(), Empty: seal}); err != nil {
		return err
	}
	return dropPlainFile(s.layout)
}

// checkIdentity compares the directories' IDs with the agreed ones (S18).
func (s *supervisor) checkIdentity(never bool) error {
	c := s.cfg
	if Vacant(c.DataDir) {
		what := "is empty"
		if _, err := os.Stat(c.DataDir); err != nil {
			what = "is absent"
		}
		why := "data was expected there"
		if !never {
			why = "requorum started etcd on it before"
		}
		return refuse("the data directory %s %s, and %s: it is lost or its disk is not mounted; etcd is not started, for it would come up as an empty member", c.DataDir, what, why)
	}
	cluster, member, err := s.identity(c.DataDir, c.WALDir)
	if err != nil {
		return refuse("the identity of %s can't be read, so etcd is not started on it: %v", c.DataDir, err)
	}
	if cluster != c.ClusterID || member != c.MemberID {
		return refuse("%s holds member %s of cluster %s, not member %s of cluster %s; etcd is not started on it", c.DataDir, member, cluster, c.MemberID, c.ClusterID)
	}
	return nil
}
