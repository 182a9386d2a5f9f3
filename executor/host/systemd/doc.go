// Package systemd is the second kind of service: a member that a systemd unit keeps
// running, beside package process, where requorum does that itself.
//
// It talks to systemd through systemctl and journalctl, each call with a limit of its
// own: they find their way when the message bus is gone, what they are told is what a
// person would type, and one that hangs is killed and makes a fact unknown.
//
// What it promises:
//
//   - Looking changes nothing, and asks systemd once for each unit.
//   - A unit that runs the member as the file wants is left as it is, whoever wrote
//     it; settings are read from the process, whether they came from flags, from
//     variables, from a file of these, or from etcd's configuration file.
//   - What has to be otherwise is said in one file: a unit of requorum's own where
//     there is none, or a drop-in to the one that is there. It is written in one
//     rename, with the owner and mode of the one before, only where it differs, and
//     not over a file that the plan did not see.
//   - A stop is systemctl's. No process of a unit gets a signal from here.
//   - What the unit would start next is compared with the file as well as what runs:
//     Write has it start what the file says, and leaves the process alone. Start looks
//     once more, after daemon-reload, whether that is what the plan says.
//   - After Bar nothing starts the unit until Start: it is stopped, disabled (but for a
//     linked one), masked where that can be (a unit below /etc can't), and a drop-in has an assertion in it
//     that never holds, which an unmask does not take away. barred.json, beside the
//     data, says what was done, so that a mask of somebody else's is told from it.
//   - Start takes that back only when data and log hold the member that the plan
//     names, or, at a first start, an empty directory that nobody else can have.
//   - The settings that stay have an assertion that the log is there, and say that
//     the cluster exists: an etcd whose disk is gone is not started as a new one. What
//     a first start needs otherwise lies below /run, until there is a log.
package systemd
