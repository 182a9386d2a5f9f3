// Package process is requorum's own small supervisor of one member, and the
// hand that starts, adopts and stops it.
//
// The supervisor is the hidden command "requorum agent supervise BASE", BASE
// being host.Layout's folder of one data directory. It is detached from
// whoever started it, runs from a private copy of the requorum binary, and
// starts etcd from a private copy too, so that replacing or deleting a binary
// changes nothing that runs or restarts. Both show the absolute data directory
// in their command lines.
//
// What it promises:
//
//   - One supervisor for each member (flock on supervisor.lock), one etcd.
//   - Before each start of etcd the data directory's cluster and member IDs are
//     those that were agreed; else it does not start and says why ("failed").
//     An absent directory is never bootstrapped a second time: before the first
//     exec the marker "ran" is made durable, and where it stands, data must.
//   - etcd does not depend on it: its own session, no parent-death signal, no
//     pipe. If the supervisor dies, etcd runs on; the next supervisor watches
//     the running process by its pidfd and restarts nothing.
//   - A pid is believed only with its start time and the boot it belongs to, and
//     with a command line that names this very folder or data directory: a copied
//     folder holds the record of the original's processes.
//   - An etcd that somebody else started is taken over by its pid and start time,
//     while it has the data directory's files open, and is not touched. Once it
//     has ended, etcd is started as service.json says. One that has a keeper of
//     its own, or --force-new-cluster, is not taken.
//   - Where a fence stands (host.Layout.FencePath), nothing is started.
//   - An etcd that was removed from its cluster, or whose data was taken away
//     behind its back, is not started again: its own words say so ("failed").
//   - A service belongs to the cluster whose file installed it.
//   - After a crash etcd is started again with growing pauses (100 ms to 10 s).
//   - No environment variable reaches etcd that would change its settings.
//
// The files, all in BASE: service.json (Config, what to run), supervisor.json
// (State, what is), supervisor.lock, ran, bin/, etcd.log and etcd.log.1 to .5.
package process
