// Package snapshot proves snapshot files, restores them, and tries what was
// restored.
//
// A snapshot is a bbolt file with its sha256 appended. etcd's own tools trust
// more of it than is good for a file that came over a network or lay on a tape
// for a year: a length that leaves 32 bytes after whole sectors counts as
// "hashed", opening some files panics, and a db that was copied from a data
// directory carries no checksum on its pages at all. So:
//
//   - Verify reads the whole file before anything is created from it: the hash,
//     every page, every record. It opens the file read-only and never through
//     bbolt, which maps what it has not proven.
//   - Restore proves the source again while it writes the bytes for every
//     member, makes of them what etcdutl would, once for all members of a cluster,
//     makes it durable, and compares what came out with what went in, record by
//     record.
//   - Trial starts etcd alone, on loopback, on a throwaway copy, and reads it.
//
// None of them touches a data directory in use: what Restore writes lies where
// its caller stages it, and what stands in its way is an error, never removed.
//
// What a proof can't give: a db without a hash has no checksum on its values. A
// changed value is found only where it breaks a record's form. Such a file needs
// SkipHashCheck, and plans say that its contents are not provable.
package snapshot
