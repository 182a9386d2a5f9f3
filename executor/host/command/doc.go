// Package command is the third kind of service: a member that commands of the user's
// own start, stop and tell about, beside package process and package systemd.
//
// What it promises:
//
//   - A command is run as it stands in the file, without a shell, with a limit, in a
//     session of its own, and with few variables: none of requorum's own, which may have
//     secrets in them. Of what it prints only the end is kept, without what looks like a
//     password, and shown where it failed.
//   - A status command is believed only where what runs agrees with it: 0 means that the
//     member runs and 3 that it is stopped, and a process has the data open, or none has.
//     Anything else is not known, never stopped.
//   - Start and Stop are believed by what runs, not by what the commands say of
//     themselves: a start that starts nothing fails, and so does a stop after which the
//     data is open, or the status command says that the member runs.
//   - No command is ever run on a directory without a log. A member's first start, and
//     each one that is closed to clients, is made by requorum's own supervisor; the
//     commands get it afterwards.
//   - etcd's configuration file is written in one rename, and only while nothing runs.
//
// Nothing can keep the commands themselves from being run by others. What keeps etcd
// from the old data is the fence at its path.
package command
