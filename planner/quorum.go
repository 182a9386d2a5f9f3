package planner

import "encoding/json"

// Quorum is the arithmetic of one moment of a cluster.
type Quorum struct {
	Voters  int `json:"voters"`
	Healthy int `json:"healthy"` // voters that run and follow a leader
}

// Size is the number of voters that have to agree: a majority.
func (q Quorum) Size() int { return q.Voters/2 + 1 }

// Has reports whether there is a quorum. A cluster without voters has none.
func (q Quorum) Has() bool { return q.Voters > 0 && q.Healthy >= q.Size() }

// Tolerance is how many more voters may be lost; negative without quorum.
func (q Quorum) Tolerance() int { return q.Healthy - q.Size() }

// OneMore is what the failure of one more healthy voter, the worst case at this
// moment, would do.
type OneMore string

// What one more failure does.
const (
	OneMoreStays OneMore = "quorum-stays" // writes go on; after an election where it led
	OneMoreLoses OneMore = "quorum-lost"  // writes stop until a voter is back
	OneMoreNone  OneMore = "no-quorum"    // there is none to lose
)

// OneMore gives the worst case of one more failure.
func (q Quorum) OneMore() OneMore {
	switch {
	case !q.Has():
		return OneMoreNone
	case q.Tolerance() > 0:
		return OneMoreStays
	}
	return OneMoreLoses
}

// MarshalJSON adds what follows from the two numbers.
func (q Quorum) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Voters    int     `json:"voters"`
		Healthy   int     `json:"healthy"`
		Tolerance int     `json:"tolerance"`
		OneMore   OneMore `json:"one_more"`
	}{q.Voters, q.Healthy, q.Tolerance(), q.OneMore()})
}
