package load

import (
	"regexp"
	"slices"
	"strings"
)

// What looks like a secret in a command's words, one after the other. A value that a shell
// takes from elsewhere is none, nor is the name of a file that has it.
var (
	toldValue  = `["']?([^\s"'$<;&|` + "`" + `][^\s"';&|]*)`
	toldNamed  = regexp.MustCompile(`(?i)(?:^|[\s;&|("'])(-{0,2}[\w-]*(?:passw(?:or)?d|passphrase|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key)[\w-]*)(\s*=\s*|\s+)` + toldValue)
	toldEtcd   = regexp.MustCompile(`(?i)\bETCDCTL_USER\s*=\s*["']?[^\s"':$]+:` + toldValue)
	toldUser   = regexp.MustCompile(`(?i)\b(?:etcdctl|curl|wget)\b.*?\s(?:--user|-u)[\s=]+["']?[^\s"':$]+:` + toldValue)
	toldHeader = regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+([A-Za-z0-9+/=._~-]{8,})`)
	toldURL    = regexp.MustCompile(`://[^\s/"'@]*:` + `([^\s/"'@$` + "`" + `][^\s"'@]*)@`)
	toldKey    = regexp.MustCompile(`(?s)(-----BEGIN [^-\n]*-----.*)`)
	// toldPlace are names of what says where a secret is, or something about it.
	toldPlace = regexp.MustCompile(`(?i)(?:file|path|dir|name|ttl|env)$`)
)

// toldSecrets are the secrets in a command's words, as far as they can be told by what
// stands before them.
func toldSecrets(words []string) []string {
	text := strings.Join(words, " ")
	var out []string
	for _, re := range []*regexp.Regexp{toldEtcd, toldUser, toldHeader, toldURL, toldKey} {
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
	}
	for _, m := range urlSecret.FindAllString(text, -1) {
		if _, value, _ := strings.Cut(m, "="); value != "" && !strings.HasPrefix(value, "$") {
			out = append(out, value)
		}
	}
	for _, m := range toldNamed.FindAllStringSubmatch(text, -1) {
		name, value := strings.ToLower(m[1]), m[3]
		flag := strings.ReplaceAll(strings.TrimPrefix(strings.TrimLeft(name, "-"), "etcd_"), "_", "-")
		_, etcds := etcdFlags[flag]
		switch {
		case etcds && !strings.HasPrefix(flag, "discovery"), toldPlace.MatchString(name):
		case !strings.Contains(m[2], "=") && (!strings.HasPrefix(name, "-") || strings.HasPrefix(value, "-")):
			// Words of a sentence, or a flag without a value.
		default:
			out = append(out, value)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
