package main

import (
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// underCommands has every member of the file under commands of its own, as it was seen
// but for what edit changes of the n-th.
func underCommands(edit func(n int, s *planner.Fact[planner.Service])) func(*world) {
	return func(w *world) {
		w.in.Cluster.Etcd.Binary = "/usr/bin/etcd"
		for i := range w.in.Cluster.Members {
			m := &w.in.Cluster.Members[i]
			script := "/etc/init.d/etcd-" + m.Name
			w.in.Cluster.Hosts = append(w.in.Cluster.Hosts, spec.Host{
				Name: m.Name, Access: spec.AccessLocal, Service: spec.Service{
					Kind: spec.ServiceCommand, Start: []string{script, "start"}, Stop: []string{script, "stop"}, Status: []string{script, "status"},
				},
			})
			m.Host = m.Name
			o := w.in.Observation.Members[m.Name]
			if !o.Service.Known() {
				continue
			}
			o.Service.Value.Commands = &planner.CommandService{Closed: planner.Closed(o.Service.Value.Args)}
			if s := &o.Service.Value; s.State == planner.ServiceRunning {
				s.SupervisorPID, s.Binary = 1, "/usr/bin/etcd"
			}
			edit(i, &o.Service)
			if s := &o.Service; s.Known() && s.Value.State != planner.ServiceRunning && s.Value.State != planner.ServiceBackoff &&
				(s.Value.Foreign != nil && s.Value.Foreign.Keeper != "" || s.Value.Foreign == nil && o.Data.Value.HeldBy != 0) {
				// Of what runs without them, but for requorum's own, nothing is believed.
				*s = planner.Unknown[planner.Service]("its status command says that it is stopped, and a process has the data open")
			}
			w.in.Observation.Members[m.Name] = o
		}
	}
}
