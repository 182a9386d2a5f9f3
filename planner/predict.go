package planner

// Predict gives what would be observed once a has been carried out, with nothing
// else happening meanwhile. An error says why a could not be carried out as the
// observation has it: its precondition does not hold, or etcd would refuse it. The
// observation that is passed is not changed, nor anything that it points to.
func Predict(obs Observation, a Action) (Observation, error) {
	panic("not yet")
}

// Holds reports whether what a leads to is so already (its postcondition), and
// otherwise what is missing.
func Holds(a Action, obs Observation) (ok bool, missing string) {
	panic("not yet")
}
