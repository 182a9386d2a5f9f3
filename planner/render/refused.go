package render

import "github.com/requorum/requorum/planner"

// Refused gives a refusal by itself, where there is no plan that it is of.
func Refused(r *planner.Refusal, s Style) string {
	return s.Bad("Refused:") + " " + r.Title + "\n" + refusal(r, s)
}
