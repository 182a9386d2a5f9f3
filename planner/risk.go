package planner

import "fmt"

// RiskLevel is how much a step puts at stake, the least first.
type RiskLevel string

// The levels of risk.
const (
	RiskNone     RiskLevel = "none"         // one more failure would change nothing
	RiskNoMargin RiskLevel = "no-margin"    // one more failure would stop writes
	RiskFinal    RiskLevel = "irreversible" // there is no way back from here
	RiskNoQuorum RiskLevel = "no-quorum"    // no writes until a later step
	RiskDowntime RiskLevel = "downtime"     // it takes the quorum itself
)

// Risk is what a step puts at stake.
type Risk struct {
	Level RiskLevel `json:"level"`
	Text  string    `json:"text"`
}

// Risk says what the step puts at stake: its worst side.
func (s Step) Risk() Risk {
	switch {
	case s.Before.Has() && !s.After.Has():
		return Risk{RiskDowntime, "the cluster has no quorum after it: no writes until a later step"}
	case !s.After.Has():
		return Risk{RiskNoQuorum, "the cluster has no quorum yet: nothing is written"}
	case s.Undo == "" && s.NoUndo != "":
		return Risk{RiskFinal, "no way back: " + s.NoUndo}
	case s.After.OneMore() == OneMoreLoses && s.After.Voters > 1:
		return Risk{RiskNoMargin, fmt.Sprintf("%d of %d voters healthy: one more failure would stop writes", s.After.Healthy, s.After.Voters)}
	case s.After.OneMore() == OneMoreLoses:
		return Risk{RiskNoMargin, "a single voter: its failure would stop writes"}
	}
	return Risk{RiskNone, fmt.Sprintf("may lose %d more", s.After.Tolerance())}
}

var riskOrder = []RiskLevel{RiskNone, RiskNoMargin, RiskFinal, RiskNoQuorum, RiskDowntime}

// Risk is the worst of the plan's steps, with the number of the first that has it;
// 0 for a plan without steps.
func (p *Plan) Risk() (Risk, int) {
	worst, at := Risk{RiskNone, "nothing is done"}, 0
	rank := func(l RiskLevel) int {
		for i, r := range riskOrder {
			if r == l {
				return i
			}
		}
		return -1
	}
	for _, s := range p.Steps {
		if r := s.Risk(); at == 0 || rank(r.Level) > rank(worst.Level) {
			worst, at = r, s.ID
		}
	}
	return worst, at
}
