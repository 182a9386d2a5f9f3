package main

import (
	"fmt"
	"strings"
)

// The victims.
const (
	requorum = "requorum"
	leader   = "leader"
	follower = "follower"
	learner  = "learner" // one that joins
	closed   = "member"  // any, while none has a client listener yet
	host     = "'s host" // after a role: its supervisor is killed first
)

// attempt is one cell of the table: a scenario, where in its journal, and who is
// killed there.
type attempt struct {
	Scenario string `json:"scenario"`
	Place    int    `json:"place"` // harness.Record.Place
	Who      string `json:"who"`
	// Percent is how much of the step's time goes by first, as it was in the run that
	// nobody interrupted; 0 is at once.
	Percent int `json:"percent,omitempty"`
}

// whole is a scenario that nobody interrupts.
const whole = -1

func (a attempt) String() string {
	return fmt.Sprintf("%s | %s | %s", a.Scenario, a.boundary(), a.Who)
}

// boundary is the place in words.
func (a attempt) boundary() string {
	if a.Place == whole {
		return "nowhere"
	}
	s := find(a.Scenario)
	kinds := strings.Fields(s.steps)
	text := ""
	switch {
	case a.Place == 0:
		text = "begin"
	case a.Place == 2*len(kinds)+1:
		text = "end"
	case a.Place%2 == 1:
		text = fmt.Sprintf("intent %d %s", a.Place/2+1, kinds[a.Place/2])
	default:
		text = fmt.Sprintf("done %d %s", a.Place/2, kinds[a.Place/2-1])
	}
	if a.Percent > 0 {
		text += fmt.Sprintf(" + %d %%", a.Percent)
	}
	return text
}

// kinds are the kinds of action that the attempt comes to: the one at work or just
// done.
func (a attempt) kind() string {
	kinds := strings.Fields(find(a.Scenario).steps)
	if i := (a.Place+1)/2 - 1; i >= 0 && i < len(kinds) {
		return kinds[i]
	}
	return ""
}

func find(name string) scenario {
	for _, s := range scenarios {
		if s.name == name {
			return s
		}
	}
	return scenario{}
}

// long are the actions that take longer the more data there is, or that wait.
var long = map[string]bool{"restore": true, "trial": true, "recover": true, "save-snapshot": true, "join": true, "promote": true, "start": true}

// percents is when in a long action it is killed.
var percents = []int{25, 50, 75}

// table is every attempt: each scenario alone first, and then all the places where
// somebody is killed.
func table() []attempt {
	var out []attempt
	for _, s := range scenarios {
		out = append(out, attempt{Scenario: s.name, Place: whole, Who: "nobody"})
	}
	for _, s := range scenarios {
		out = append(out, s.attempts()...)
	}
	return out
}

func (s scenario) attempts() []attempt {
	var out []attempt
	kinds := strings.Fields(s.steps)
	last := 2*len(kinds) + 1
	if s.large {
		for i, k := range kinds {
			for _, p := range percents {
				if long[k] {
					out = append(out, attempt{Scenario: s.name, Place: 2*i + 1, Who: requorum, Percent: p})
				}
			}
		}
		return out
	}
	for place := 0; place <= last; place++ {
		out = append(out, attempt{Scenario: s.name, Place: place, Who: requorum})
		if place < last {
			for _, who := range s.roles(kinds, place) {
				out = append(out, attempt{Scenario: s.name, Place: place, Who: who})
			}
		}
	}
	return out
}

// roles are the members that can be killed at a place. Where a step has begun it is
// the process alone, and where one has ended its supervisor too, as if its host had
// gone.
func (s scenario) roles(kinds []string, place int) []string {
	serves, joins, unopened := s.serving, false, false
	members := s.begins()
	for i := range kinds {
		begun, ended := place >= 2*i+1, place >= 2*i+2
		switch kinds[i] {
		case "start":
			if opensLater(kinds, i) {
				unopened = ended
				continue
			}
			serves, unopened = serves || ended, unopened && !begun
			if ended && !s.serving && members == 0 {
				members = 3
				if s.name == "recover in place" {
					members = 1
				}
			}
		case "stop":
			unopened = unopened && !begun
		case "join":
			joins = joins || begun
		case "promote":
			if ended {
				joins = false
				members++
			}
		}
	}
	var out []string
	if serves {
		out = append(out, leader)
		if members > 1 && s.name != "shrink" {
			out = append(out, follower)
		}
	}
	if joins {
		out = append(out, learner)
	}
	if unopened {
		out = append(out, closed)
	}
	if place%2 == 0 {
		for i := range out {
			out[i] += host
		}
	}
	return out
}

// opensLater reports whether the i-th action is a start with closed client listeners:
// they are read back, stopped, and started for their clients.
func opensLater(kinds []string, i int) bool {
	return i+3 < len(kinds) && kinds[i+1] == "verify" && kinds[i+2] == "stop" && kinds[i+3] == "start"
}

// begins is how many voters serve at the beginning.
func (s scenario) begins() int {
	switch {
	case !s.serving:
		return 0
	case s.name == "migrate" || strings.HasPrefix(s.name, "grow"):
		return 1
	case s.name == "learner to voter" || s.name == "replace":
		return 2
	}
	return 3
}

// slice is the part of the table that `make test` runs: short scenarios, and an
// attempt of each sort.
func slice() []attempt {
	want := []string{
		"adopt | intent 1 adopt | requorum",
		"restore | done 2 install | requorum",
		"restore | done 3 start | member's host",
		"recover | done 1 fence | requorum",
		"replace | done 2 add-learner | requorum",
		"replace | intent 3 join | leader",
		"voter to learner | done 1 remove-member | requorum",
		"rolling restart | done 1 stop | requorum",
	}
	var out []attempt
	for _, a := range table() {
		for _, w := range want {
			if a.String() == w {
				out = append(out, a)
			}
		}
	}
	return out
}
