package process

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/requorum/requorum/planner"
)

// What is known of a process goes into plans, which other people read: a value that is
// not told is planner.Untold there, or has that in the place of a URL's user. On the host
// itself settings are what they are.

// untoldError says that settings have secrets in them, which can't be carried into a
// plan, and so not be given to an etcd that requorum starts.
func untoldError(names []string) error {
	return fmt.Errorf("--%s has a secret in it, which no plan may have", strings.Join(names, ", --"))
}

var (
	// urlUser is the user of each URL in a list; anyUser is all up to the last @, for a
	// password may have any character in it.
	urlUser    = regexp.MustCompile(`://[^/\s,"']*@`)
	anyUser    = regexp.MustCompile(`(?s)://.*@`)
	wordUser   = regexp.MustCompile(`://[^\s"]*@`)
	secretName = regexp.MustCompile(`passw|secret|token|credential|private|api-?key|access-?key`)
	// said are secrets in a line of etcd's log, by the word before them.
	saidFlag   = regexp.MustCompile(`(?i)(-[\w-]*(?:passw|secret|credential|api-?key|access-?key)[\w-]*[= ]+)("(?:[^"\\]|\\.)*"?|[^\s,;]+)`)
	saidSecret = regexp.MustCompile(`(?i)([\w-]*(?:passw|secret|token|credential|api[_-]?key|access[_-]?key)[\w-]*\\?["']?\s*[=:]\s*)(\\?"(?:[^"\\]|\\.)*\\?"?|'[^']*'?|[^\s,;}]+)`)
	saidAuth   = regexp.MustCompile(`(?i)(authorization["']?\s*[:=]\s*["'\[]*(?:basic\s+|bearer\s+)?|bearer\s+)([A-Za-z0-9+/=._~-]{8,})`)
)

// withoutUser is a value whose URLs have no user and no password.
func withoutUser(value string) string {
	return anyUser.ReplaceAllString(urlUser.ReplaceAllString(value, "://"+planner.Untold+"@"), "://"+planner.Untold+"@")
}

// Scrub is a text that etcd, or systemd, has written, without the secrets that it repeats.
func Scrub(text string) string {
	text = wordUser.ReplaceAllString(text, "://"+planner.Untold+"@")
	text = saidFlag.ReplaceAllString(text, "${1}"+planner.Untold)
	text = saidSecret.ReplaceAllString(text, "${1}"+planner.Untold)
	return saidAuth.ReplaceAllString(text, "${1}"+planner.Untold)
}

// strange reports whether a value is none that a flag of any etcd has: commands of a
// shell, variables of env.
func strange(value string) bool { return strings.ContainsAny(value, " \t\n=") }

// former are flags that etcd 3.4 to 3.6 had, beside those that begin with experimental-.
var former = regexp.MustCompile(`^(experimental-.*|debug|enable-v2|log-output|log-package-levels|proxy(-.*)?)$`)

// etcds reports whether a flag is one of some etcd's: a process with another one is a
// shell, or an env, with an etcd's command line behind its own.
func etcds(name string, known *flag.FlagSet) bool {
	return known.Lookup(name) != nil || former.MatchString(name)
}

// isSecret reports whether a flag's value is a secret by the flag's name. Of the flags
// that etcd has only those of discovery are; what goes by discovery is asked once, when
// a member is first started.
func isSecret(name string, known *flag.FlagSet) bool {
	return strings.HasPrefix(name, "discovery") || known.Lookup(name) == nil && secretName.MatchString(name)
}

// tellArgs are the arguments of any process without secrets: of a flag that no etcd is
// known to have, its name alone.
func tellArgs(args []string) []string {
	known := etcdFlags()
	out := make([]string, len(args))
	value := false // what follows is the value of such a flag
	for i, arg := range args {
		name, joined, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		dashed := strings.HasPrefix(arg, "-") && name != ""
		hidden := dashed && (!etcds(name, known) || isSecret(name, known))
		switch {
		case hidden && has:
			out[i], value = arg[:len(arg)-len(joined)]+planner.Untold, false
		case dashed:
			out[i], value = withoutUser(arg), hidden && !isBool(known.Lookup(name))
		case value || strange(arg):
			out[i], value = planner.Untold, false
		default:
			out[i] = withoutUser(arg)
		}
	}
	return out
}

// addresses begin the flags that have URLs of members. A user in one has no part in what
// is dialed or listened to.
var addresses = []string{"listen-", "advertise-", "initial-"}

// Tell is how settings are told: without those of discovery, which no etcd that has data
// looks at, and without secrets. hidden are the names of those that are not told whole.
func Tell(settings map[string]string) (told map[string]string, hidden []string) {
	known := etcdFlags()
	told = map[string]string{}
	for name, value := range settings {
		if strings.HasPrefix(name, "discovery") {
			continue
		}
		if slices.ContainsFunc(addresses, func(a string) bool { return strings.HasPrefix(name, a) }) {
			value = urlUser.ReplaceAllString(value, "://")
		}
		told[name] = withoutUser(value)
		if isSecret(name, known) || !etcds(name, known) && strange(value) {
			told[name] = planner.Untold
		}
		if told[name] != value {
			hidden = append(hidden, name)
		}
	}
	slices.Sort(hidden)
	return told, hidden
}

// TellFlags is Tell of --name=value, each in its place.
func TellFlags(args []string) []string {
	if args == nil {
		return nil
	}
	out := make([]string, 0, len(args))
	for _, arg := range args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !joined || !strings.HasPrefix(arg, "-") {
			out = append(out, withoutUser(arg))
			continue
		}
		told, _ := Tell(map[string]string{name: value})
		if v, ok := told[name]; ok {
			out = append(out, arg[:len(arg)-len(value)]+v)
		}
	}
	return out
}

// configLine is a setting of an etcd's configuration file, as requorum writes it.
var configLine = regexp.MustCompile(`^([ \t]*)([\w-]+):[ \t]*\S[^\n]*`)

// TellConfig is the text of an etcd's configuration file that requorum has written, without
// secrets that somebody has put there since.
func TellConfig(text string) string {
	known := etcdFlags()
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		lines[i] = withoutUser(line)
		if m := configLine.FindStringSubmatch(line); m != nil && isSecret(m[2], known) {
			lines[i] = m[1] + m[2] + ": " + planner.Untold + line[len(m[0]):]
		}
	}
	return strings.Join(lines, "")
}

// flagWord is a flag with its value as a unit's file has it.
var flagWord = regexp.MustCompile(`"--[a-z0-9-]+=(?:[^"\\]|\\.)*"|--[a-z0-9-]+=[^\s"]+`)

// TellUnit is the text of a unit's file that requorum has written, without secrets.
func TellUnit(text string) string {
	known := etcdFlags()
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "Environment=") {
			continue // those that mean something to Go, as the plan has them
		}
		lines[i] = flagWord.ReplaceAllStringFunc(withoutUser(line), func(word string) string {
			name, _, _ := strings.Cut(strings.TrimLeft(word, `"-`), "=")
			if !isSecret(name, known) {
				return word
			}
			told := "--" + name + "=" + planner.Untold
			if word[0] == '"' {
				return `"` + told + `"`
			}
			return told
		})
	}
	return strings.Join(lines, "")
}
