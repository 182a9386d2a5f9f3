package planner

// Health is the answer to "is it healthy and as the file says?".
type Health string

// The answers.
const (
	HealthGood    Health = "healthy"
	HealthBad     Health = "not as the file says"
	HealthUnknown Health = "unknown"
)

// Health judges the plan: nothing to do means healthy, unless an alarm is on;
// what could not be learned is unknown, never bad or good.
func (p *Plan) Health() Health {
	if p.Refusal != nil {
		switch p.Refusal.Code {
		case CodeDataUnknown, CodeUnreachable, CodeAuthRequired, CodeTLSFailed, CodeHostUnsupported:
			return HealthUnknown
		}
		return HealthBad
	}
	if p.Route != RouteInSync {
		return HealthBad
	}
	for _, n := range p.Notices {
		if n.Code == NoteAlarm {
			return HealthBad
		}
	}
	return HealthGood
}
