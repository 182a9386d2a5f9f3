package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"sigs.k8s.io/yaml"
)

// origin is what etcd takes its settings from, as a process was given it.
type origin struct {
	args []string // without the program
	env  []string
	cwd  string
	// root is where the process's own paths begin, for reading its files.
	root string
}

// settings are the effective ones by flag name, as etcd 3.7 finds them
// (etcdmain/config.go parse): a configuration file alone where there is one; else
// the command line, and the environment for what is not on it. Flags that 3.7
// does not know are kept as they are. Paths are made absolute, and the flags that
// requorum owns have etcd's defaults where nothing sets them; a log inside the data
// directory goes unsaid.
func (o origin) settings() (map[string]string, error) {
	known := etcdFlags()
	out := fromArgs(o.args, known)
	env := fromEnv(o.env, known)
	file := out["config-file"]
	if file == "" {
		file = env["config-file"]
	}
	if file == "" {
		for name, value := range env {
			if _, set := out[name]; !set {
				out[name] = value
			}
		}
	} else {
		var err error
		if out, err = fromFile(filepath.Join(o.root, o.abs(file)), known); err != nil {
			return nil, fmt.Errorf("its configuration file: %w", err)
		}
	}
	for name, value := range out {
		out[name] = o.clean(name, value, known)
	}
	return o.withDefaults(out), nil
}

// SettingsFrom are the settings of an etcd that would be started with these
// arguments (without the program) and variables in the folder cwd, secrets among them.
func SettingsFrom(args, env []string, cwd string) (map[string]string, error) {
	return origin{args: args, env: env, cwd: cwd, root: "/"}.settings()
}

// AsArgs writes settings as --name=value, sorted.
func AsArgs(settings map[string]string) []string { return asArgs(settings) }

// etcdFlags are those of etcd 3.7, to be looked up in only. They are made once: to make
// them writes variables of etcd's.
var etcdFlags = sync.OnceValue(func() *flag.FlagSet {
	fs := flag.NewFlagSet("etcd", flag.ContinueOnError)
	embed.NewConfig().AddFlags(fs)
	for _, name := range []string{"config-file", "initial-cluster-state", "discovery-fallback", "v2-deprecation"} {
		fs.String(name, "", "")
	}
	fs.Bool("version", false, "")
	return fs
})

func isBool(f *flag.Flag) bool {
	if f == nil {
		return false
	}
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// fromArgs follows package flag. Of a flag that 3.7 does not know it can't be
// told whether it is a boolean: what follows is its value unless it is a flag,
// for etcd takes no other arguments.
func fromArgs(args []string, known *flag.FlagSet) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(args); i++ {
		name, dashed := strings.CutPrefix(args[i], "-")
		name = strings.TrimPrefix(name, "-")
		if !dashed || name == "" {
			break
		}
		name, value, joined := strings.Cut(name, "=")
		f := known.Lookup(name)
		switch {
		case joined:
		case isBool(f):
			value = "true"
		case i+1 < len(args) && (f != nil || !strings.HasPrefix(args[i+1], "-")):
			i++
			value = args[i]
		default:
			value = "true"
		}
		out[name] = value
	}
	return out
}

// fromEnv gives what etcd reads of ETCD_* (pkg/flags SetFlagsFromEnv): names that
// are no flags mean nothing to it; older servers had the experimental ones.
func fromEnv(env []string, known *flag.FlagSet) map[string]string {
	out := map[string]string{}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		name, ours := strings.CutPrefix(name, "ETCD_")
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if !ours || value == "" || name == "version" {
			continue
		}
		if known.Lookup(name) != nil || strings.HasPrefix(name, "experimental-") {
			out[name] = value
		}
	}
	return out
}

// yamlLine is where a file is no YAML; the rest of what is said of it has its text.
var yamlLine = regexp.MustCompile(`: line \d+`)

// fromFile reads etcd's YAML. Nested values get the names of their flags; one that
// has none can't be given to another etcd, which is an error.
func fromFile(path string, known *flag.FlagSet) (map[string]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if b, err = yaml.YAMLToJSON(b); err != nil {
		return nil, fmt.Errorf("%s is no YAML%s", path, yamlLine.FindString(err.Error()))
	}
	var values map[string]any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s does not have settings by name", path)
	}
	nested := map[string]string{}
	flatten(nested, "", values, known)
	out := map[string]string{}
	for name, value := range nested {
		if name == "experimental-snapshot-catch-up-entries" { // of 3.5 and 3.6, whose flag is another
			name = "experimental-snapshot-catchup-entries"
		}
		if section, rest, inside := strings.Cut(name, "."); inside {
			if name = flagOf(section, rest); known.Lookup(name) == nil {
				return nil, fmt.Errorf("%s.%s in %s has no flag", section, rest, path)
			}
		}
		out[name] = value
	}
	return out, nil
}

// flagOf is the flag for a value in a section of etcd's YAML (embed/config.go
// securityConfig, configFromFile).
func flagOf(section, name string) string {
	switch {
	case section == "socket-options":
		return "socket-" + name
	case section == "client-transport-security" && name == "allowed-hostname":
		return "client-cert-allowed-hostname"
	case section == "client-transport-security":
		return name
	case section == "peer-transport-security" && strings.HasPrefix(name, "allowed-"):
		return "peer-cert-" + name
	case section == "peer-transport-security":
		return "peer-" + name
	}
	return section + "." + name
}

func flatten(out map[string]string, prefix string, values map[string]any, known *flag.FlagSet) {
	for name, v := range values {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			flatten(out, prefix+name+".", v, known)
		default:
			out[prefix+name] = text(v, known.Lookup(prefix+name))
		}
	}
}

// text writes a YAML value as its flag takes it: a file has durations as a number
// of nanoseconds.
func text(v any, f *flag.Flag) string {
	switch v := v.(type) {
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = text(v[i], nil)
		}
		return strings.Join(parts, ",")
	case json.Number:
		if _, ok := flagValue(f).(time.Duration); ok {
			if n, err := v.Int64(); err == nil {
				return time.Duration(n).String()
			}
		}
	}
	return fmt.Sprint(v)
}

func flagValue(f *flag.Flag) any {
	if f == nil {
		return nil
	}
	if g, ok := f.Value.(flag.Getter); ok {
		return g.Get()
	}
	return nil
}

// clean makes one form of equal values.
func (o origin) clean(name, value string, known *flag.FlagSet) string {
	if b, err := strconv.ParseBool(value); err == nil && isBool(known.Lookup(name)) {
		return strconv.FormatBool(b)
	}
	switch {
	case value == "":
	case name == "data-dir", name == "wal-dir", strings.HasSuffix(name, "-file"):
		return o.abs(value)
	case name == "log-outputs":
		parts := strings.Split(value, ",")
		for i, p := range parts {
			if !slices.Contains([]string{"default", "stdout", "stderr", "systemd/journal"}, p) && !strings.Contains(p, "://") {
				parts[i] = o.abs(p)
			}
		}
		return strings.Join(parts, ",")
	}
	return value
}

func (o origin) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(o.cwd, path)
}

func (o origin) withDefaults(s map[string]string) map[string]string {
	orElse := func(name, value string) {
		if s[name] == "" {
			s[name] = value
		}
	}
	orElse("name", embed.DefaultName)
	orElse("data-dir", o.abs(s["name"]+".etcd"))
	orElse("listen-peer-urls", embed.DefaultListenPeerURLs)
	orElse("listen-client-urls", embed.DefaultListenClientURLs)
	orElse("initial-advertise-peer-urls", embed.DefaultInitialAdvertisePeerURLs)
	orElse("advertise-client-urls", embed.DefaultAdvertiseClientURLs)
	if s["wal-dir"] == filepath.Join(s["data-dir"], "member", "wal") {
		delete(s, "wal-dir") // where etcd has it anyway
	}
	return s
}

// asArgs writes settings as --name=value, sorted.
func asArgs(settings map[string]string) []string {
	out := make([]string, 0, len(settings))
	for name, value := range settings {
		out = append(out, "--"+name+"="+value)
	}
	slices.Sort(out)
	return out
}
