package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/requorum/requorum/planner"
)

// Status gives how the cluster stands, member by member, and what planning
// would say.
func Status(in planner.Input, p *planner.Plan, s Style) string {
	var b strings.Builder
	b.WriteString(statusHead(in, p, s))
	b.WriteString(statusTable(in, p, s))
	b.WriteString(origin(p, s))
	b.WriteString(lastWords(in, s))
	if p.Refusal != nil {
		b.WriteString(refusal(p.Refusal, s))
	}
	b.WriteString(doubts(p, s))
	b.WriteString(notices(asItIs(p), s))
	b.WriteString("\n" + verdict(p, s))
	return b.String()
}

// asItIs is the plan with those of its notes that say how things are, and not what
// the plan would bring.
func asItIs(p *planner.Plan) *planner.Plan {
	now := *p
	now.Notices = nil
	for _, n := range p.Notices {
		switch n.Code {
		case planner.NoteWatchers, planner.NoteLeasesRestart, planner.NoteNotProvable, planner.NoteOldAlarms,
			planner.NoteInDoubt, planner.NoteDip, planner.NoteRemaining, planner.NoteNoBootStart:
		default:
			now.Notices = append(now.Notices, n)
		}
	}
	return &now
}

// lastWords says why a member's supervisor has given up, or tries again and again.
func lastWords(in planner.Input, s Style) string {
	var b strings.Builder
	for _, m := range in.Cluster.Members {
		v := in.Observation.Members[m.Name].Service
		if v.Known() && v.Value.LastError != "" && (v.Value.State == planner.ServiceFailed || v.Value.State == planner.ServiceBackoff) {
			b.WriteString(paragraph(m.Name+": "+s.path(v.Value.LastError), s.width(), "  ", "    "))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n" + b.String()
}

func statusTable(in planner.Input, p *planner.Plan, s Style) string {
	rows := [][]string{{"Member", "Role", "etcd", "Revision", "Size", "Process", "Disk"}}
	for i, m := range in.Cluster.Members {
		o := in.Observation.Members[m.Name]
		row := append([]string{m.Name}, serving(o.Client, p.Members[i])...)
		rows = append(rows, append(row, process(o), disk(o, p.Members[i])))
	}
	rows = dropEmpty(rows)
	return table(rows, s.width(), func(r, c int, text string) string {
		switch {
		case r == 0:
			return s.Dim(text)
		case c == 0:
			return s.Bold(text)
		case c == 1 && p.Members[r-1].Alarm:
			return s.Bad(text)
		case c == 1:
			return s.Good(text)
		}
		return text
	})
}

// dropEmpty takes out the columns that have nothing but a heading.
func dropEmpty(rows [][]string) [][]string {
	out := make([][]string, len(rows))
	for c := range rows[0] {
		used := false
		for _, row := range rows[1:] {
			used = used || row[c] != ""
		}
		for r, row := range rows {
			if used {
				out[r] = append(out[r], row[c])
			}
		}
	}
	return out
}

func statusHead(in planner.Input, p *planner.Plan, s Style) string {
	quorum := "no quorum"
	if p.Before.Has() {
		quorum = "quorum " + Quorum(p.Before)
	}
	head := fmt.Sprintf("%s %s\n", s.Bold("Cluster "+p.Cluster+":"), quorum)
	if p.ClusterID != "" {
		head += "  ID " + p.ClusterID
		switch kv := in.Observation.KV; {
		case kv.Known() && kv.Value.Equal:
			head += fmt.Sprintf(", data equal at revision %d", kv.Value.Revision)
		case kv.Known():
			head += ", " + s.Bad("data differs")
		}
		head += "\n"
	}
	return head + "\n"
}

func serving(e planner.Endpoint, line planner.MemberLine) []string {
	if e.Reach != planner.ReachServing {
		return []string{line.Seen, "", "", ""}
	}
	return []string{Role(e), e.Version, fmt.Sprint(e.Revision), Bytes(e.DBSize)}
}

// Role is what a member that serves is in its cluster.
func Role(e planner.Endpoint) string {
	switch {
	case e.Learner:
		return "learner"
	case e.LeaderID == "":
		return "no leader"
	case e.LeaderID == e.MemberID:
		return "leader"
	}
	return "follower"
}

// disk says what lies on the disk of a member that does not serve.
func disk(o planner.MemberObservation, line planner.MemberLine) string {
	if o.Client.Reach == planner.ReachServing {
		return ""
	}
	return line.Data
}

// upFor is a duration in its largest unit, rounded down.
func upFor(seconds int) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d\u00a0d", int(d.Hours())/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d\u00a0h", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d\u00a0min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d\u00a0s", seconds)
}

func process(o planner.MemberObservation) string {
	if !o.Service.Known() {
		return "unknown: " + o.Service.Why
	}
	v := o.Service.Value
	switch v.State {
	case planner.ServiceRunning:
		text := fmt.Sprintf("pid %d, %s", v.PID, upFor(v.UpSeconds))
		if v.SupervisorPID == 0 {
			text += ", no supervisor"
		}
		if v.Restarts > 0 {
			text += fmt.Sprintf(", %s", plural(v.Restarts, "restart"))
		}
		return text
	case planner.ServiceBackoff:
		if v.Restarts == 0 {
			return "about to start"
		}
		return fmt.Sprintf("dies and restarts (%d)", v.Restarts)
	case planner.ServiceFailed:
		return "given up"
	}
	if held := o.Data.Value.HeldBy; o.Data.Known() && held > 0 {
		return fmt.Sprintf("pid %d, not requorum's", held)
	}
	if v.State == planner.ServiceStopped {
		return "stopped"
	}
	return "none"
}

func verdict(p *planner.Plan, s Style) string {
	switch p.Health() {
	case planner.HealthGood:
		return s.Good("Healthy, and as the file says.") + "\n"
	case planner.HealthUnknown:
		return s.Warn("Unknown: not everything could be seen.") + "\n"
	}
	text := paragraph("Not as the file says: "+p.Headline+".", s.width(), "", "  ")
	return strings.Replace(text, "Not as the file says:", s.Warn("Not as the file says:"), 1)
}
