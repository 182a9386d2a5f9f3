// Package survivor makes a cluster's data readable again from the data directory
// of one member that is left, without losing what its log holds.
//
// etcd's own way, --force-new-cluster, drops every entry after HardState.Commit.
// That number is written late, so entries that were acknowledged to clients are
// among them. It also panics on a learner's or a removed member's directory, and
// it dials the members that it is about to expel.
//
// Recover never starts etcd on what it was given. It copies the db and writes a
// new log beside the copy, as a restore does, but with the IDs kept:
//
//   - a snapshot record at the db's consistent_index, whose one voter is this
//     member;
//   - the log's entries after it up to Request.Upto, with their terms and indexes.
//     Entries about membership are empty ones: nobody else is a member any more;
//   - a HardState with Commit = Upto.
//
// An etcd that is started on this without any special flag is a cluster of one
// that has still to apply these entries, and does so as the member itself would
// have: permissions, alarms, quotas as they were in the log's course. It knows no
// other member, so it dials nobody, and it listens on sockets in a folder that
// only its owner can enter. When all is applied and it leads, it is stopped, and
// its db is taken.
//
// What is made sure of:
//
//   - Leases. In the copy they last an hour at least, in the db and in the entries
//     that grant them, or short ones would take their keys along. Afterwards they
//     have the TTL again that they were granted with. Checkpoints of the remaining
//     time in the part of the log that is replayed are left out: such a lease may
//     last longer, never shorter.
//   - Auth stays on, for permissions are checked when an entry is applied; nothing
//     here asks etcd a question that would need a user.
//   - Alarms stay. Under NOSPACE or CORRUPT etcd refuses what it applies, so to take
//     an alarm away before the tail is applied would make writes succeed whose
//     clients were told that they failed. They are in the result as they were, and
//     Record.Alarms counts them. The copy's own quota is off, so it raises none.
//   - Afterwards the log that the copy's etcd wrote is read: all that it may have
//     added by itself are its attributes and the cluster's version.
//
// What can't be proven: the log has checksums, the db has none on its pages. A
// changed byte in it is found where it breaks the structure of a page or a
// record, where a key's name, version or revisions no longer go on from those
// before, and where a value's own put (not one in a transaction) is still in the
// log after its last snapshot; not with auth or alarms, where a put in the log may
// have been refused. In other values, and in those that are no longer current, it
// is not found.
// Compare holds survivors on one machine against each other: a log that reaches
// further back than a db's own, and the dbs among themselves, revision by revision,
// find more of them. The sha256 behind a snapshot that is made here vouches for the
// bytes since then, and not for these.
//
// The length of the log's last records has no second witness either: a log whose
// end is damaged reads like one that was cut there by the crash. That is why the
// plan's LastTerm and LastIndex are asked for.
package survivor
