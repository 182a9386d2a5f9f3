package harness

import (
	"slices"
	"strings"
)

// settleLimit is how often an apply may have to be repeated: a plan may leave
// something to the next one ("planning again will deal with …").
const settleLimit = 3

// Settle applies path, with args, until there is nothing to do any more, and
// checks that status says the same. It gives the plans that were carried out.
func (e *Env) Settle(path string, args ...string) []Plan {
	e.t.Helper()
	return e.SettleIn(settleLimit, path, args...)
}

// Granted stands for an --accept of whatever the plan at hand needs.
const Granted = "GRANTED"

// Accept is --accept with all that the plan needs, or nothing.
func (p Plan) Accept() []string {
	if p.Consents() == "" {
		return nil
	}
	return []string{"--accept=" + p.Consents()}
}

// Once is Settle in one apply.
func (e *Env) Once(path string, args ...string) Plan {
	e.t.Helper()
	plans := e.SettleIn(1, path, args...)
	if len(plans) == 0 {
		e.t.Fatal("there was nothing to do")
	}
	return plans[0]
}

// SettleIn is Settle in limit applies at most.
func (e *Env) SettleIn(limit int, path string, args ...string) []Plan {
	e.t.Helper()
	var done []Plan
	for {
		p := e.Plan(path)
		if p.Refusal != nil {
			e.t.Fatalf("apply %d: refused: %s: %s\n%s", len(done)+1, p.Refusal.Code, p.Refusal.Title, p.Refusal.Detail)
		}
		if len(p.Steps) == 0 && p.Route == "in-sync" {
			e.Run("status", path).Want(e.t, 0)
			return done
		}
		e.t.Logf("apply %d: route %s: %s: steps %s; needs %s; loss %s: %s",
			len(done)+1, p.Route, p.Headline, p.Steplist(), p.Consents(), p.Loss.Kind, p.Loss.Text)
		if len(done) == limit {
			e.t.Fatalf("after %d applies: route %s, steps %s: %s", limit, p.Route, p.Steplist(), p.Headline)
		}
		accept := args
		if slices.Equal(args, []string{Granted}) {
			accept = p.Accept()
		}
		r := e.Apply(path, accept...)
		e.t.Logf("took %.1f s", r.Took.Seconds())
		done = append(done, p)
	}
}

// Steplist is the plan's steps with their targets, in one line.
func (p Plan) Steplist() string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, s.Kind+"("+strings.Join(s.Target, " ")+")")
	}
	return strings.Join(out, " ")
}
