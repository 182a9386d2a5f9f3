package planner_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// service: who keeps it running, and what became of it.
func (v *view) service(m spec.Member, o *planner.MemberObservation, d *planner.DataDir, word, value string) (bool, error) {
	s := &o.Service.Value
	switch word {
	case "last": // etcd's last words, after which its supervisor gave up
		s.State, s.PID, s.SupervisorPID, s.LastError, s.Log = planner.ServiceFailed, 0, 0, value, m.DataDir+".requorum/log"
	case "again": // its supervisor tries again and again
		s.State, s.SupervisorPID, s.Restarts, s.LastError, s.Log = planner.ServiceBackoff, 4710, 7, value, m.DataDir+".requorum/log"
	case "died": // it was started again since, and runs
		s.Restarts, s.LastError = 3, value
	case "sign": // KIND:TEXT, in its log
		kind, text, _ := strings.Cut(value, ":")
		s.Signs = append(slices.Clone(s.Signs), planner.LogSign{Kind: kind, Text: text})
	case "up":
		_, err := fmt.Sscan(value, &s.UpSeconds)
		return true, err
	case "orphaned":
		s.SupervisorPID = 0
	case "by-hand", "kept": // started by somebody else, who would start it again
		f := &planner.Foreign{PID: 4711, Start: 99, Exe: "/usr/bin/etcd", Keeper: value, Settings: map[string]string{}}
		for _, a := range s.Args {
			name, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
			f.Settings[name] = value
		}
		o.Service = planner.Known(planner.Service{State: planner.ServiceNone, Foreign: f, Signs: s.Signs})
	case "flag": // NAME:VALUE
		name, value, _ := strings.Cut(value, ":")
		if s.Foreign != nil {
			s.Foreign.Settings[name] = value
		} else {
			s.Args = append(slices.Clone(s.Args), "--"+name+"="+value)
		}
	case "unsupervised":
		o.Service = planner.Unknown[planner.Service](value)
	default:
		return false, nil
	}
	return true, nil
}

// told: what a member that serves says of itself.
func (v *view) told(_ spec.Member, o *planner.MemberObservation, _ *planner.DataDir, word, value string) (bool, error) {
	switch word {
	case "alarm": // NOSPACE of itself, or NOSPACE:m9 of another
		kind, of, named := strings.Cut(value, ":")
		id := o.Client.MemberID
		if named {
			id = v.listed(of).ID
		}
		o.Client.Alarms = append(slices.Clone(o.Client.Alarms), kind+" on "+id)
	case "downgrade":
		o.Client.Downgrade = value
	case "metrics": // changes:9,fsync:0.5,pending:40,failed:3,up:600
		x := planner.Metrics{UpSeconds: 3600, FsyncSeconds: 0.002}
		for _, part := range strings.Split(value, ",") {
			name, n, _ := strings.Cut(part, ":")
			into := map[string]any{"changes": &x.LeaderChanges, "fsync": &x.FsyncSeconds, "pending": &x.Pending, "failed": &x.FailedTotal, "up": &x.UpSeconds}[name]
			if into == nil {
				return true, fmt.Errorf("there is no metric %s", name)
			}
			if _, err := fmt.Sscan(n, into); err != nil {
				return true, err
			}
		}
		o.Client.Metrics = planner.Known(x)
	case "port-taken":
		o.PortsTaken = append(slices.Clone(o.PortsTaken), value)
	default:
		return false, nil
	}
	return true, nil
}
