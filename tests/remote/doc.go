// Package remote has scenarios over ssh that need no machine but this one: each host
// is a real sshd of the test's own, and requorum gets to it by the real ssh command.
// Scenarios on hosts that boot, lose power and are cut off are in tests/e2e.
package remote
