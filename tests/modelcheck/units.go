package main

import (
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/spec"
)

// underSystemd has every member of the file under a unit of its own, as it was seen
// but for what edit changes. What runs under a supervisor of requorum's elsewhere runs
// under the unit here; a stray process stays one.
func underSystemd(edit func(*planner.Unit)) func(*world) {
	return func(w *world) {
		for i := range w.in.Cluster.Members {
			m := &w.in.Cluster.Members[i]
			name := "etcd-" + m.Name + ".service"
			w.in.Cluster.Hosts = append(w.in.Cluster.Hosts, spec.Host{
				Name: m.Name, Access: spec.AccessLocal, Service: spec.Service{Kind: spec.ServiceSystemd, Unit: name},
			})
			m.Host = m.Name
			o := w.in.Observation.Members[m.Name]
			if !o.Service.Known() {
				continue
			}
			s := &o.Service.Value
			u := &planner.Unit{
				Name: name, Load: "loaded", Enabled: "enabled", Fragment: "/usr/lib/systemd/system/" + name,
				Program: []string{"/usr/bin/etcd"}, Own: []string{"/usr/local/lib/requorum/requorum-0", "etcd"},
			}
			edit(u)
			s.Unit = u
			if s.State == planner.ServiceRunning {
				s.SupervisorPID, s.Binary = 1, "/usr/bin/etcd"
				if len(u.Program) == 0 {
					s.Binary = "requorum"
				}
			}
			w.in.Observation.Members[m.Name] = o
		}
	}
}
