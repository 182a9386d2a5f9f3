// Package ssh reaches machines through the user's own ssh command, so that its
// configuration, agent, jump hosts, known hosts and shared connections all work,
// and has requorum's agent answer there.
//
// One ssh command does all of it, for each may cost a touch on a key: it runs a
// few lines of shell, which say what system that is, become root by sudo where the
// login is not, find requorum by its sha256, or put it there once, in a folder of
// root's own, and become the agent. The two sides take turns: nothing is sent
// before the other side has said what it wants.
//
// Nobody is ever asked anything (BatchMode, no terminal), and no host is spoken to
// whose key is not known.
package ssh
