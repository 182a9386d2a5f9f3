package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Arms of the trial: which disk is left.
const (
	newest = "newest" // one whose log goes as far as the furthest of the three
	behind = "behind" // one whose log does not
)

// line is what is kept of a round.
type line struct {
	Seed     uint64 `json:"seed"`
	Version  string `json:"version"`
	Arm      string `json:"arm"`
	Fault    string `json:"fault"`    // what was done before the kill
	Survivor string `json:"survivor"` // and whether it led
	Logs     string `json:"logs"`     // the ends of the three, term#index

	Acknowledged int `json:"acknowledged"`
	Lost         int `json:"lost"`         // of these, after requorum
	ControlLost  int `json:"control_lost"` // of these, after --force-new-cluster
	// Understated are those that are gone although the plan had promised them: it
	// said that nothing would be lost, or they are not beyond the revision that it
	// called proven.
	Understated int      `json:"understated"`
	Said        string   `json:"said"` // the kind of loss that the plan spoke of
	Proven      int64    `json:"proven"`
	Gone        []string `json:"gone,omitempty"`
	Seconds     float64  `json:"seconds"`
	Error       string   `json:"error,omitempty"`
}

// failed reports whether the round shows a fault of requorum's.
func (l line) failed() bool {
	return l.Error != "" || l.Understated > 0 || l.Arm == newest && l.Lost > 0
}

func (l line) String() string {
	s := fmt.Sprintf("seed %-5d etcd %-8s %-7s %-16s of %4d acknowledged: lost %d, control %d, plan: %s; %.1f s",
		l.Seed, l.Version, l.Arm, l.Fault, l.Acknowledged, l.Lost, l.ControlLost, l.Said, l.Seconds)
	if l.failed() {
		s += fmt.Sprintf("\n  FAILED: understated %d, gone %q\n  %s", l.Understated, l.Gone, l.Error)
	}
	return s
}

// sums are the figures of some rounds.
type sums struct {
	rounds, acknowledged, lost, control, controlRounds int // of the arm newest
	behind, behindLost                                 int // of the other
	understated, errors                                int
}

func (s *sums) add(l line) {
	s.understated += l.Understated
	switch {
	case l.Error != "":
		s.errors++
	case l.Arm == behind:
		s.behind++
		s.behindLost += l.Lost
		return
	}
	s.rounds++
	s.acknowledged, s.lost, s.control = s.acknowledged+l.Acknowledged, s.lost+l.Lost, s.control+l.ControlLost
	if l.ControlLost > 0 {
		s.controlRounds++
	}
}

// report shows the figures by version and in all; the error says what is wrong with
// them.
func report(w io.Writer, lines []line) error {
	by, all, versions := map[string]*sums{}, &sums{}, []string{}
	for _, l := range lines {
		if by[l.Version] == nil {
			by[l.Version], versions = &sums{}, append(versions, l.Version)
		}
		by[l.Version].add(l)
		all.add(l)
	}
	slices.Sort(versions)
	fmt.Fprintf(w, "%-8s | newest log left: %6s %12s %5s %22s | not the newest: %6s %5s | %11s %6s\n",
		"etcd", "rounds", "acknowledged", "lost", "control lost (rounds)", "rounds", "lost", "understated", "errors")
	for _, v := range versions {
		s := by[v]
		fmt.Fprintf(w, "%-8s | %23d %12d %5d %14d %7s | %22d %5d | %11d %6d\n", v,
			s.rounds, s.acknowledged, s.lost, s.control, fmt.Sprintf("(%d)", s.controlRounds), s.behind, s.behindLost, s.understated, s.errors)
	}
	void := all.control == 0
	fmt.Fprintf(w, "rounds=%d acknowledged=%d lost=%d control_lost=%d behind_rounds=%d behind_lost=%d understated=%d errors=%d void=%t\n",
		len(lines), all.acknowledged, all.lost, all.control, all.behind, all.behindLost, all.understated, all.errors, void)
	switch {
	case all.lost > 0 || all.understated > 0 || all.errors > 0:
		return errors.New("acknowledged writes are gone, or were promised and are gone, or a recovery failed: see above")
	case void:
		return errors.New("void: the control lost nothing, so that these rounds prove nothing")
	}
	return nil
}
