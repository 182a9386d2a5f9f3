package planner

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
