package systemd

import (
	"os"
	"strings"
)

// split takes a line apart as systemctl prints lists, and as a unit's file has words:
// at blanks, but not within quotes.
func split(s string) []string {
	var out []string
	var word strings.Builder
	quote, has := byte(0), false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && quote != '\'':
			i++
			word.WriteByte(unescaped(s[i]))
			has = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '$' && i+1 < len(s) && s[i+1] == '\'' && !has: // $'…', as shells have it
		case c == '"' || c == '\'':
			quote, has = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if has {
				out = append(out, word.String())
			}
			word.Reset()
			has = false
		default:
			word.WriteByte(c)
			has = true
		}
	}
	if has {
		out = append(out, word.String())
	}
	return out
}

func unescaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	}
	return c
}

// environment are the variables of a unit, the files' last. One that is not there and
// may be left out counts for nothing.
func (p properties) environment() (map[string]string, error) {
	env := map[string]string{}
	for _, kv := range split(p["Environment"]) {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	for line := range strings.Lines(p["EnvironmentFiles"]) {
		path, how, _ := strings.Cut(strings.TrimSpace(line), " (")
		b, err := os.ReadFile(path)
		if path == "" || err != nil && os.IsNotExist(err) && strings.Contains(how, "ignore_errors=yes") {
			continue
		}
		if err != nil {
			return nil, err
		}
		readVariables(env, string(b))
	}
	return env, nil
}

// readVariables reads a file of variables as systemd.exec(5) has EnvironmentFile=.
func readVariables(env map[string]string, text string) {
	text = strings.ReplaceAll(text, "\\\n", "")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if strings.ContainsAny(value, `"'\`) { // within it blanks stay
			value = strings.Join(split(value), " ")
		}
		env[strings.TrimSpace(name)] = value
	}
}

// argv is what ExecStart runs, its variables put in: a word that is one alone becomes
// as many as it has, within another it stays one.
func (p properties) argv(env map[string]string) []string {
	_, rest, ok := strings.Cut(p["ExecStart"], "argv[]=")
	if !ok || strings.Contains(rest, "argv[]=") { // none, or several commands
		return nil
	}
	text, _, _ := strings.Cut(rest, " ; ignore_errors=")
	var out []string
	for i, word := range split(text) {
		name, alone := strings.CutPrefix(word, "$")
		switch {
		case i == 0:
			out = append(out, word)
		case alone && name != "" && name[0] != '{' && name[0] != '$':
			out = append(out, split(env[name])...)
		default:
			out = append(out, expand(word, env))
		}
	}
	return out
}

// expand puts variables in the place of ${NAME}; $$ is a dollar.
func expand(word string, env map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if strings.HasPrefix(word[i:], "$$") {
			b.WriteByte('$')
			i++
			continue
		}
		if end := strings.IndexByte(word[i:], '}'); strings.HasPrefix(word[i:], "${") && end > 0 {
			b.WriteString(env[word[i+2:i+end]])
			i += end
			continue
		}
		b.WriteByte(word[i])
	}
	return b.String()
}
