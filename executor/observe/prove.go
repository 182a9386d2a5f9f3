package observe

import (
	"context"

	"github.com/requorum/requorum/planner"
)

// Prove reads the whole databases of the stopped members whose directories obs has
// as intact, and enters what is wrong with them. It is for a plan that would
// recover from one of them: damage is to be known before anything is fenced. Obs
// stays as it is where nothing is wrong.
func (o *Observer) Prove(ctx context.Context, obs *planner.Observation) error {
	var places []planner.Place
	for _, p := range o.places() {
		seen := obs.Members[p.Name]
		if d := ofDisk(&seen); d.State == planner.DirPresent && d.HeldBy == 0 && d.Problem == "" {
			places = append(places, p)
		}
	}
	wrong, err := o.Host.Prove(ctx, places, o.Progress)
	for name, what := range wrong {
		if seen := obs.Members[name]; what != "" {
			ofDisk(&seen).Problem = what
			obs.Members[name] = seen
		}
	}
	return err
}

// ofDisk is what was seen of the member's directory, or behind the fence there;
// State is "" where that is unknown.
func ofDisk(seen *planner.MemberObservation) *planner.DataDir {
	switch d := &seen.Data.Value; {
	case !seen.Data.Known():
		return &planner.DataDir{}
	case d.State == planner.DirFenced && d.Fenced != nil:
		return d.Fenced
	default:
		return d
	}
}
