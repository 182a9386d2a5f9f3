package load

import (
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// What looks like a secret where the source is quoted, although no value says so: a line
// with a mistake in it may never come to have one, and a quote that is missing, or one
// too many, may have made anything of it.

// suspect is a part of a source that may be a secret. What messages repeat of it is
// masked, too, where words is true.
type suspect struct {
	from, to int
	words    bool
}

var (
	secretAssign  = regexp.MustCompile(`(?i)[\w-]*(?:pw|pas+w|pass|key|secret|token|cred)[\w-]*"?[ \t]*[=:]`)
	keyAssign     = regexp.MustCompile(`(?i)^"?key"?[ \t]*[=:]`) // a file of TLS
	defaultAssign = regexp.MustCompile(`^[ \t]*"?default"?[ \t]*[=:]`)
	anyAssign     = regexp.MustCompile(`^[ \t]*"?[\w-]+"?[ \t]*[=:]`)
	reference     = regexp.MustCompile(`^[ \t]*(?:var|local|each)\.[\w.\[\]"-]+[ \t,]*$|^[ \t]*(?:env|file)\("[^"]*"\)[ \t,]*$`)
	heredoc       = regexp.MustCompile(`<<-?[ \t]*([\w-]+)[ \t]*$`)
	quotedText    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"?`)
)

// suspicious gives the parts of a source that may be secrets: from the = behind a name
// that says so to the end of the line, and of what goes on below it. broken is true where
// it could not be parsed: then it may be any default; values, where it has nothing but
// values of variables: then it may be all of them.
func suspicious(src []byte, broken, values bool) []suspect {
	var out []suspect
	for _, re := range []*regexp.Regexp{urlUser, urlSecret} {
		for _, at := range re.FindAllIndex(src, -1) {
			out = append(out, suspect{at[0], at[1], false})
		}
	}
	lines := strings.SplitAfter(string(src), "\n")
	at := 0
	for i := 0; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], "\r\n")
		begin, words := assigned(line, broken, values)
		if begin < 0 || reference.MatchString(line[begin:]) {
			at += len(lines[i])
			continue
		}
		out = append(out, suspect{at + begin, at + len(line), words})
		at += len(lines[i])
		for below := goesOn(line[begin:], lines[i+1:], indentOf(line)); below > 0; below-- {
			i++
			out = append(out, suspect{at, at + len(strings.TrimRight(lines[i], "\r\n")), words})
			at += len(lines[i])
		}
	}
	return out
}

// assigned is where in a line what may be a secret begins, -1 for nowhere.
func assigned(line string, broken, values bool) (begin int, words bool) {
	end := -1
	if broken && defaultAssign.MatchString(line) {
		end, words = defaultAssign.FindStringIndex(line)[1], true
	}
	if broken && values {
		end, words = 0, true // a line that is no assignment is the end of another
		if m := anyAssign.FindStringIndex(line); m != nil {
			end = m[1]
		}
	}
	if m := secretAssign.FindStringIndex(line); m != nil && (end < 0 || m[1] < end) {
		end, words = m[1], !keyAssign.MatchString(line[m[0]:m[1]])
	}
	return end, words
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

// goesOn is how many of the lines below a value has still a part in: those of a heredoc,
// and of a list or an object, as far as brackets and indents tell.
func goesOn(value string, below []string, indent int) int {
	if m := heredoc.FindStringSubmatch(value); m != nil {
		for i, line := range below {
			if strings.TrimSpace(line) == m[1] {
				return i
			}
		}
		return len(below)
	}
	depth := brackets(value)
	if depth <= 0 {
		return 0
	}
	for i, line := range below {
		text := strings.TrimSpace(line)
		if depth += brackets(line); depth <= 0 && text != "" && strings.ContainsAny(text[:1], ")]}") && indentOf(line) <= indent {
			return i
		}
	}
	return len(below)
}

// brackets is how many a line opens, outside of what is quoted.
func brackets(line string) int {
	line = quotedText.ReplaceAllString(line, "")
	n := 0
	for _, c := range line {
		switch c {
		case '(', '[', '{':
			n++
		case ')', ']', '}':
			n--
		}
	}
	return n
}

var (
	plainWord = regexp.MustCompile(`[\p{L}\p{N}_-]+`)
	// known are words of expressions, no secrets.
	known = []string{"var", "local", "each", "true", "false", "null", "env", "file", "value"}
)

// scrubWords takes what a message about a suspicious line repeats of it out of the
// message: without its quotes a password is the name of a variable that is not there.
func (l *loader) scrubWords(name string, src []byte) {
	for _, d := range l.diags {
		// A value without its quotes, in a file that has nothing but values.
		if r := d.Subject; r != nil && r.Filename == name && slices.Contains(l.opts.VarFiles, name) && r.CanSliceBytes(src) && bare(src, *r) {
			l.suspects[name] = append(l.suspects[name], suspect{r.Start.Byte, r.End.Byte, true})
		}
	}
	for _, r := range l.masked {
		if r.Filename == name && r.CanSliceBytes(src) {
			l.suspects[name] = append(l.suspects[name], suspect{r.Start.Byte, r.End.Byte, true})
		}
	}
	for _, d := range l.diags {
		if d.Subject == nil || d.Subject.Filename != name {
			continue
		}
		for _, part := range l.suspects[name] {
			if part.words && touches(*d.Subject, part) {
				for _, word := range wordsOf(string(src[part.from:part.to])) {
					d.Summary, d.Detail = withoutWord(d.Summary, word), withoutWord(d.Detail, word)
				}
				d.Expression, d.EvalContext = nil, nil
			}
		}
	}
}

// bare reports whether a part of a source is a value that has no quotes.
func bare(src []byte, r hcl.Range) bool {
	before := src[strings.LastIndexByte(string(src[:r.Start.Byte]), '\n')+1 : r.Start.Byte]
	return plainWord.Match(r.SliceBytes(src)) && !strings.ContainsRune(`"[{`, rune(r.SliceBytes(src)[0])) && len(strings.TrimSpace(string(before))) > 0
}

func touches(r hcl.Range, s suspect) bool { return r.Start.Byte <= s.to && r.End.Byte >= s.from }

// referred are names of values, in an expression.
var referred = regexp.MustCompile(`\b(?:var|local|each)\.[\w.-]+`)

// wordsOf are the words of a text, the longest first.
func wordsOf(text string) []string {
	text = referred.ReplaceAllString(text, " ")
	words := append(plainWord.FindAllString(text, -1), strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\"'()[]{},=", r) })...)
	words = slices.DeleteFunc(words, func(w string) bool { return len(w) < 2 || slices.Contains(known, w) })
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(words)
}

// withoutWord is a message without a word: as a whole one, and where it is long anywhere.
func withoutWord(text, word string) string {
	if len(word) >= 6 {
		return strings.ReplaceAll(text, word, "(sensitive)")
	}
	return strings.ReplaceAll(text, `"`+word+`"`, `"(sensitive)"`)
}
