package planner

import "fmt"

// Predict gives what would be observed once a has been carried out, with nothing
// else happening meanwhile. An error says why a could not be carried out as the
// observation has it: its precondition does not hold, or etcd would refuse it. The
// observation that is passed is not changed, nor anything that it points to; what
// comes back shares with it all that the action does not change.
//
// What nobody can know before is made up, the same each time: the ID that etcd gives
// a new member, process IDs, how far a log has grown. What is not touched by the
// action stays as it was seen, also where it is old by then: the snapshot, the
// comparison of key spaces, the room on the disks.
func Predict(obs Observation, a Action) (Observation, error) {
	f := newForecast(&obs)
	if err := f.act(a); err != nil {
		return obs, err
	}
	return f.observation(), nil
}

// act is the one place where actions meet the forecast.
func (f *forecast) act(a Action) error {
	switch a := a.(type) {
	case Claim:
		return f.claim(a)
	case Restore:
		return f.restore(a)
	case Trial:
		return f.trial(a)
	case Install:
		return f.install(a)
	case Start:
		return f.start(a)
	case Adopt:
		return f.adopt(a)
	case Verify:
		return f.verify(a)
	case Stop:
		return f.stop(a)
	case SetAside:
		return f.setAside(a)
	case Fence:
		return f.fence(a)
	case Unfence:
		return f.unfence(a)
	case Recover:
		return f.recover(a)
	case Save:
		return f.save(a)
	}
	return f.actOnList(a)
}

// actOnList is act for what changes the cluster's member list, or who leads it.
func (f *forecast) actOnList(a Action) error {
	switch a := a.(type) {
	case Update:
		return f.update(a)
	case Add:
		return f.add(a)
	case Join:
		return f.join(a)
	case Promote:
		return f.promote(a)
	case MoveLeader:
		return f.moveLeader(a)
	case Remove:
		return f.remove(a)
	case Downgrade:
		return f.downgrade(a)
	case TrimLog:
		return f.trimLog(a)
	case CancelDowngrade:
		return f.cancelDowngrade(a)
	}
	return fmt.Errorf("what %q does is not known", a.Kind())
}
