// Package bed gives a test real machines: three to five hosts booted with systemd
// and sshd, each with its own disks and address, and a controller that reaches them
// over a network of their own, all on one Debian 12 machine. It needs root.
//
//	func TestMain(m *testing.M) { harness.Main(m) }
//
//	func TestX(t *testing.T) {
//		b := bed.New(t, bed.Options{Hosts: 3})     // m1 to m3, booted
//		c := b.ByHand(bed.Install{})               // a cluster of Debian's etcd, as somebody set it up
//		w := harness.StartWriters(t, 4, c.Endpoints())
//		b.Host("m2").PowerOff()
//		b.Requorum("plan", c.Path()).Want(t, 0)    // on the controller, over its ssh
//		w.Check(t, nil, c.Endpoints())
//	}
//
// A host is a systemd-nspawn container on an overlay of one shared base, with a
// loop disk for its system and one for /var/lib/etcd. Every bed has a number N of
// its own; its hosts are 10.77.N.11 and on, the controller is 10.77.N.2. Nothing
// leads out of that network. Package harness reaches the addresses from the test's
// own process: its writers, clients and checks take these endpoints as any others.
//
// The etcds of package harness lie on each host as /opt/etcd-3.4 to /opt/etcd-3.7,
// read-only; Debian's own is installed, and not enabled. The users are root, ops
// (sudo without a password) and guest (no sudo); the controller's key opens all.
//
// What it promises:
//
//   - A power-off is one: the network goes silent first, and what no fsync has
//     brought to a disk is lost, of the system's disk too.
//   - Nothing outlives the test: what a bed consists of is below one folder, one
//     cgroup and names with its number, and is taken away at its end; by a watcher
//     where the test is killed, and by the next bed where the watcher is too.
//   - Nothing else on the machine is touched: mounts are made in namespaces of the
//     hosts' own, and processes are found by their cgroup.
package bed
