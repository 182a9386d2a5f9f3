// Package agent has the wire between requorum and itself on another machine: what
// host.Host asks for goes there, is done there, and facts come back. Directories,
// logs and databases are read where they lie.
//
// Serve is the far side, over one pair of streams (stdin and stdout of an ssh
// command); Dial is this side of one connection, and Remote, a host.Host, is this
// side of a machine: it connects, and connects again.
//
// The far side speaks first: a line that begins with Magic, with who it is, as
// JSON. Whatever comes before that line, such as a shell's greeting, is passed
// over up to a limit, and shown where the line never comes. This side answers with
// a line of its own; where the two do not fit, both say so and nothing else
// happens. From there on it is HTTP/2 with gRPC, which brings deadlines, flow
// control and keep-alive; its messages are JSON of the planner's own types, and the
// content of files as it is. There are no protobuf definitions: requorum speaks
// with requorum of the same version only.
//
// What holds where connections break:
//
//   - The agent that performs an act holds the lock itself. When its connection
//     ends it finishes the act that it is in, or leaves it at its next safe point
//     where it takes long, gives the lock up and ends. So no act outlives its lock,
//     and whoever gets the lock next finds none at work.
//   - A lost connection says nothing about the act: it is unknown. Under a lock
//     Remote connects again, takes the same lock again, and repeats the request:
//     every request of host.Host may be repeated. Without one the error is an
//     ErrUnknown.
//   - A lock that can't be taken again is lost: Held says so, and no act follows.
package agent
