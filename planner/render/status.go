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
	rows := [][]string{{"Member", "Role", "etcd", "Revision", "Size", "Process", "Data"}}
	for i, m := range in.Cluster.Members {
		o := in.Observation.Members[m.Name]
		row := append([]string{m.Name}, serving(o.Client)...)
		rows = append(rows, append(row, process(o), p.Members[i].Data))
	}
	b.WriteString(table(rows, s.width(), func(r, c int, text string) string {
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
	}))
	if p.Refusal != nil {
		b.WriteString(refusal(p.Refusal, s))
	}
	b.WriteString(notices(p, s))
	b.WriteString("\n" + verdict(p, s))
	return b.String()
}

func statusHead(in planner.Input, p *planner.Plan, s Style) string {
	id := p.ClusterID
	if id == "" {
		id = "unknown"
	}
	head := fmt.Sprintf("Cluster %s  ID %s  quorum %s", s.Bold(p.Cluster), id, Quorum(p.Before))
	if kv := in.Observation.KV; kv.Known() {
		same := "data equal"
		if !kv.Value.Equal {
			same = s.Bad("data differs")
		}
		head += fmt.Sprintf("  %s at revision %d", same, kv.Value.Revision)
	}
	return head + "\n\n"
}

func serving(e planner.Endpoint) []string {
	if e.Reach != planner.ReachServing {
		return []string{string(e.Reach), "", "", ""}
	}
	role := "follower"
	switch {
	case e.Learner:
		role = "learner"
	case e.LeaderID == "":
		role = "no leader"
	case e.LeaderID == e.MemberID:
		role = "leader"
	}
	return []string{role, e.Version, fmt.Sprint(e.Revision), Bytes(e.DBSize)}
}

func process(o planner.MemberObservation) string {
	if !o.Service.Known() {
		return "unknown: " + o.Service.Why
	}
	v := o.Service.Value
	switch v.State {
	case planner.ServiceRunning:
		text := fmt.Sprintf("pid %d, up %s", v.PID, time.Duration(v.UpSeconds)*time.Second)
		if v.SupervisorPID == 0 {
			text += ", no supervisor"
		}
		if v.Restarts > 0 {
			text += fmt.Sprintf(", %s", plural(v.Restarts, "restart"))
		}
		return text
	case planner.ServiceBackoff:
		return fmt.Sprintf("dies and restarts (%d): %s", v.Restarts, v.LastError)
	case planner.ServiceFailed:
		return "given up: " + v.LastError
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
	return paragraph(s.Warn("Not as the file says:")+" "+p.Headline+".", s.width(), "", "  ")
}
