package process

import (
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// untold stands for a value that is not told: what is known of a process goes into
// plans, which other people read.
const untold = "(sensitive)"

// A SecretError says that a setting has a secret in it, which can't be carried into a
// plan, and so not be given to an etcd that requorum starts.
type SecretError struct{ Names []string }

// Error implements error.
func (e *SecretError) Error() string {
	return fmt.Sprintf("--%s has a secret in it, which no plan may have", strings.Join(e.Names, ", --"))
}

var (
	urlUser    = regexp.MustCompile(`://[^/\s,"']*@`)
	secretName = regexp.MustCompile(`passw|secret|token|credential|private|api-?key|access-?key`)
)

// withoutUser is text whose URLs have no user and no password.
func withoutUser(text string) string { return urlUser.ReplaceAllString(text, "://"+untold+"@") }

// strange reports whether a value is none that a flag of any etcd has: commands of a
// shell, variables of env.
func strange(value string) bool { return strings.ContainsAny(value, " \t\n=") }

// isSecret reports whether a flag's value is a secret by the flag's name. Of the flags
// that etcd has only those of discovery are; what goes by discovery is asked once, when
// a member is first started.
func isSecret(name string, known *flag.FlagSet) bool {
	return strings.HasPrefix(name, "discovery") || known.Lookup(name) == nil && secretName.MatchString(name)
}

// tellArgs are arguments without secrets.
func tellArgs(args []string) []string {
	known := etcdFlags()
	out := make([]string, len(args))
	value := false // of a secret flag, in a word of its own
	for i, arg := range args {
		name, _, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		dashed := strings.HasPrefix(arg, "-")
		switch {
		case value:
			out[i], value = untold, false
		case dashed && isSecret(name, known) && joined:
			out[i] = arg[:strings.Index(arg, "=")+1] + untold
		case !dashed && strange(arg):
			out[i] = untold
		default:
			out[i], value = withoutUser(arg), dashed && !joined && isSecret(name, known) && !isBool(known.Lookup(name))
		}
	}
	return out
}

// addresses begin the flags that have URLs of members. A user in one has no part in what
// is dialed or listened to.
var addresses = []string{"listen-peer-", "listen-client-", "advertise-", "initial-"}

// tellSettings are settings without those of discovery, which no etcd that has data
// looks at, and without secrets. The error is a *SecretError where one is left out that
// the process would miss.
func tellSettings(s map[string]string) (map[string]string, error) {
	known := etcdFlags()
	out := map[string]string{}
	var missed []string
	for name, value := range s {
		if strings.HasPrefix(name, "discovery") {
			continue
		}
		if slices.ContainsFunc(addresses, func(a string) bool { return strings.HasPrefix(name, a) }) {
			out[name] = urlUser.ReplaceAllString(value, "://")
			continue
		}
		out[name] = withoutUser(value)
		if isSecret(name, known) || known.Lookup(name) == nil && strange(value) {
			out[name] = untold
		}
		if out[name] != value {
			missed = append(missed, name)
		}
	}
	if missed != nil {
		slices.Sort(missed)
		return out, &SecretError{missed}
	}
	return out, nil
}
