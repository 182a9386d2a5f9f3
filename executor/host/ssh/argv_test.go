package ssh

import (
	"slices"
	"strings"
	"testing"

	"github.com/requorum/requorum/spec"
)

// ssh goes by the first value that an option is given: what must not be otherwise stands
// before what the user's command says.
func TestHostKeysAreAlwaysChecked(t *testing.T) {
	for _, command := range [][]string{
		{"ssh", "-o", "StrictHostKeyChecking=no"}, {"/usr/bin/ssh", "-oStrictHostKeyChecking=no", "-o", "BatchMode=no"},
		{"sudo", "-u", "ops", "ssh", "-o", "StrictHostKeyChecking=no"}, {"ssh", "-o", "NoHostAuthenticationForLocalhost=yes"}, nil,
	} {
		argv := Options{Address: "h", SSH: spec.SSH{Command: command, User: "ops", Port: 22}}.argv()
		first := map[string]string{}
		for i, a := range argv {
			opt, ok := strings.CutPrefix(a, "-o")
			if ok && opt == "" {
				opt = argv[i+1]
			}
			name, value, is := strings.Cut(opt, "=")
			if _, set := first[name]; ok && is && !set {
				first[name] = value
			}
		}
		for name, want := range map[string]string{"StrictHostKeyChecking": "yes", "BatchMode": "yes", "NoHostAuthenticationForLocalhost": "no"} {
			if first[name] != want {
				t.Errorf("%q: %s is %q: %q", command, name, first[name], argv)
			}
		}
		for _, word := range command { // none is lost
			if !slices.Contains(argv, word) {
				t.Errorf("%q is not in %q", word, argv)
			}
		}
	}
	_, err := start(t.Context(), Options{Address: "h", SSH: spec.SSH{Command: []string{"sh", "-oStrictHostKeyChecking=no"}}})
	if err == nil || !strings.Contains(err.Error(), "always checked") {
		t.Errorf("%v", err)
	}
}
