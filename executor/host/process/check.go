package process

import (
	"fmt"
	"os"
)

// refusal is a start that would do harm; it is not tried again.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// mayStart is asked before each start of etcd. It returns a *refusal where
// starting would do harm, and leaves the marker Ran behind otherwise.
func (s *supervisor) mayStart() error {
	c := s.cfg
	if why := fenced(s.layout); why != "" {
		return refuse("%s", why)
	}
	if p, _, found := find(s.layout); found {
		// Tried again later: it may be a tool that is soon done.
		return fmt.Errorf("process %d, which requorum did not start, has the data directory %s in its command line", p.PID, c.DataDir)
	}
	if users, err := users(c.DataDir, c.WALDir); err == nil && len(users) > 0 {
		return fmt.Errorf("process %d, which requorum did not start, runs on the data directory %s", users[0].PID, c.DataDir)
	}
	if _, err := os.Stat(c.Private); err != nil {
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
		return s.sealAndMark()
	}
	if err := s.checkIdentity(never); err != nil {
		return err
	}
	if unmarked || ran.Token != c.Token {
		return writeJSON(s.layout.Ran(), Ran{Token: c.Token, Name: c.Name, When: timestamp()})
	}
	return nil
}

func (s *supervisor) nothingYet() bool {
	return Vacant(s.cfg.DataDir) && (s.cfg.WALDir == "" || Vacant(s.cfg.WALDir))
}

// sealAndMark makes the empty directory of a bootstrap and records, durably,
// that etcd is about to run in it.
func (s *supervisor) sealAndMark() error {
	seal, err := sealEmpty(s.cfg.DataDir)
	if err != nil {
		return err
	}
	if !s.nothingYet() {
		return refuse("something was written to %s while the member was being started", s.cfg.DataDir)
	}
	return writeJSON(s.layout.Ran(), Ran{Token: s.cfg.Token, Name: s.cfg.Name, When: timestamp(), Empty: seal})
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
