// Package etcd is a narrow client of the etcd API, and an offline reader of a
// data directory.
//
// The client half asks one member at a time, each on a connection of its own and
// with a deadline of its own. Probe and ProbePeer say what answers at an
// address, as finely as it can be told: nothing listens, no route, the TLS
// handshake fails and why, TCP accepts and then nothing comes (an etcd restarted
// without quorum does this), something answers that is not etcd, or etcd wants a
// user. They open the TCP connection, the TLS session and the HTTP/2 greeting
// themselves before the etcd client is used, because that client reports all of
// these as "context deadline exceeded". CompareKV compares the members' key
// spaces, Count counts keys, and Disarm clears alarms of members that are gone.
//
// Rules that hold throughout:
//
//   - No call outlasts its limit, whatever the other side does.
//   - A time-out is unknown, never a failure and never an absence.
//   - Endpoints are asked as the file has them: never Sync, never AutoSync, no
//     proxy from the environment, no redirect followed.
//   - The password goes only to something that has answered as an etcd.
//   - Probe, ProbePeer, CompareKV and Count write nothing: no key, no alarm. A
//     log-in with a password is one entry in etcd's raft log (a Status that needs
//     none comes first); it does not change the revision.
//   - Errors are one line each, without gRPC's own prefixes.
//
// The offline half opens a directory's write-ahead log and database read-only;
// it never takes etcd's own read-write paths, some of which write to the file.
package etcd
