package ssh

import (
	"fmt"
	"regexp"
	"strings"
)

// Trouble is what kept a machine from being reached, each with a remedy of its own.
type Trouble string

// The troubles.
const (
	NoCommand   Trouble = "no-command"   // there is no ssh here
	Unreachable Trouble = "unreachable"  // no connection
	HostKey     Trouble = "host-key"     // not known, or another one
	Denied      Trouble = "denied"       // the user or the key is not accepted
	NoSudo      Trouble = "no-sudo"      // neither root nor sudo without a password
	OtherSystem Trouble = "other-system" // requorum for it is not at hand
	NotPlaced   Trouble = "not-placed"   // forbidden by --no-install
	Full        Trouble = "full"         // no room for the agent
	NoExec      Trouble = "no-exec"      // the folder is mounted noexec
	NotReady    Trouble = "not-ready"    // something that the host has to have
	Died        Trouble = "died"         // the agent ended, or never greeted
)

// Error says why a machine can't be reached, and what to do.
type Error struct {
	Trouble Trouble
	Text    string // what was seen
	Remedy  string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Text
	}
	return e.Text + "; " + e.Remedy
}

func trouble(t Trouble, remedy, text string, args ...any) *Error {
	return &Error{Trouble: t, Text: fmt.Sprintf(text, args...), Remedy: remedy}
}

// What OpenSSH says, in the order in which it is looked for. It is never
// translated.
var said = []struct {
	words   *regexp.Regexp
	trouble Trouble
	text    string
	remedy  string
}{
	{regexp.MustCompile(`(?i)REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed`), HostKey,
		"the host key is not the one that is known", "find out why; if the host was set up anew, take the old key out (ssh-keygen -R) and log in once by hand"},
	{regexp.MustCompile(`(?i)No .*host key is known|Host key verification failed|host key is not cached`), HostKey,
		"the host key is not known here", "compare it and log in once by hand, or add it to known_hosts"},
	{regexp.MustCompile(`(?i)Too many authentication failures|Permission denied|no more authentication methods|This account is|Account .*(expired|locked)`), Denied,
		"the login is refused", "nobody is asked for a password: give the user in ssh { user }, and load the key into the agent or name it in the ssh configuration"},
	{regexp.MustCompile(`(?i)Could not resolve hostname|Name or service not known`), Unreachable,
		"the name does not resolve", "correct address, or the ssh configuration"},
	{regexp.MustCompile(`(?i)Connection (refused|timed out|reset|closed)|No route to host|Network is unreachable|Operation timed out|kex_exchange_identification|Broken pipe`), Unreachable,
		"there is no connection", "see whether the host is up and its sshd answers"},
}

// ofSSH is the trouble behind what ssh said and how it ended.
func ofSSH(exit int, stderr, stray string) *Error {
	words := lastWords(stderr)
	for _, s := range said {
		if s.words.MatchString(stderr) {
			return trouble(s.trouble, s.remedy, "%s (ssh: %s)", s.text, matching(stderr, s.words, words))
		}
	}
	switch {
	case exit == 255:
		return trouble(Unreachable, "", "ssh failed: %s", orWord(words, "without a word"))
	case strings.TrimSpace(stray) != "":
		return trouble(NotReady, "the login has to give a shell that runs sh -c", "no shell answers there: it said %.300q %s", strings.TrimSpace(stray), words)
	}
	return trouble(NotReady, "the login has to give a shell that runs sh -c", "no shell answers there (exit %d): %s", exit, orWord(words, "without a word"))
}

// matching is the line that tells, and the last one where that is another.
func matching(text string, words *regexp.Regexp, last string) string {
	for line := range strings.Lines(text) {
		if line = strings.Trim(line, "@ \r\n"); words.MatchString(line) {
			return line
		}
	}
	return last
}

func lastWords(text string) string {
	last := ""
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			last = line
		}
	}
	return last
}

func orWord(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

var noRoom = regexp.MustCompile(`(?i)no space left|disk quota exceeded`)

// ofPlacing is the trouble that the script says it has.
func ofPlacing(host, words string) *Error {
	kind, why, _ := strings.Cut(words, " ")
	switch {
	case noRoom.MatchString(why):
		return trouble(Full, "make room there", "there is no room for requorum's agent in %s: %s", AgentDir, why)
	case kind == "tools":
		return trouble(NotReady, "install it there (coreutils)", "the host lacks what placing the agent needs: %s", why)
	}
	return trouble(NotReady, "make the folder usable for root", "requorum's agent could not be put into %s: %s", AgentDir, orWord(why, "what arrived was not whole"))
}
