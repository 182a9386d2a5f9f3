package load

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/requorum/requorum/spec"
)

// settings reads etcd.config: etcd's settings by flag name.
func (l *loader) settings(b block, version string) (map[string]string, map[string]spec.Position) {
	v, ok := b.value("config", cty.DynamicPseudoType)
	if !ok {
		return nil, nil
	}
	if !v.Type().IsObjectType() && !v.Type().IsMapType() {
		l.errorAt(b.at("config"), "Wrong type", "config must be an object like { quota-backend-bytes = 8589934592 }; it is %s.", kindOf(v))
		return nil, nil
	}
	config, positions := map[string]string{}, map[string]spec.Position{}
	places := b.keys("config")
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		name := key.AsString()
		at, found := places[name]
		if !found {
			at = keyPlace{b.at("config"), b.at("config")}
		}
		if !l.checkSetting(name, version, at.key) || value.IsNull() {
			continue
		}
		s, err := settingValue(value)
		if err == nil && (urlUser.MatchString(s) || urlSecret.MatchString(s)) {
			l.hide(value)
			l.hideText(s)
			l.errorAt(at.value, "Secret in a setting", "%s has a user, a password or a token in a URL. Plans, journals and etcd's own command line show it to whoever looks: write the URL without it, and let who is asked there know the members by their addresses or certificates.", name)
			continue
		}
		if err == nil {
			err = cmp.Or(checkSettingKind(etcdFlags[name], s), checkWord(name, s))
		}
		if err != nil {
			l.errorAt(at.value, "Invalid value for a setting", "%s %s.", name, err)
			continue
		}
		config[name], positions[name] = s, position(at.key.rng)
	}
	if err := checkTimes(config); err != nil {
		l.errorAt(b.at("config"), "Settings that etcd refuses", "%s.", err)
	}
	return config, positions
}

// words are those that etcd takes for a setting. With any other it ends as it starts,
// and a member that was stopped for it does not come back (embed/config.go, Validate).
var words = map[string][]string{
	"auto-compaction-mode": {"periodic", "revision"},
	"log-level":            {"debug", "info", "warn", "error", "dpanic", "panic", "fatal"},
}

func checkWord(name, s string) error {
	if allowed := words[name]; allowed != nil && !slices.Contains(allowed, s) {
		return fmt.Errorf("must be one of %s; it is %q", strings.Join(allowed, ", "), s)
	}
	if name == "auto-compaction-retention" && checkSettingKind(flagInt, s) != nil && checkSettingKind(flagDuration, s) != nil {
		return fmt.Errorf("must be a whole number, or a time with its unit, like \"30m\"; it is %q", s)
	}
	return nil
}

// mostElection is etcd's own limit, in milliseconds (embed/config.go, maxElectionMs).
const mostElection = 50000

// checkTimes holds the two times that etcd compares as it starts, with its defaults for
// what the file does not name.
func checkTimes(config map[string]string) error {
	ms := func(name string, preset uint64) uint64 {
		if n, err := strconv.ParseUint(config[name], 0, 64); err == nil {
			return n
		}
		return preset
	}
	heartbeat, election := ms("heartbeat-interval", 100), ms("election-timeout", 1000)
	switch {
	case heartbeat == 0 || election == 0:
		return errors.New("heartbeat-interval and election-timeout are more than 0 ms")
	case election > mostElection:
		return fmt.Errorf("election-timeout is %d ms at most; it is %d", mostElection, election)
	case heartbeat > election/5:
		return fmt.Errorf("election-timeout has to be five times heartbeat-interval at least; they are %d ms and %d ms, etcd's own where the file has none: name both", election, heartbeat)
	}
	return nil
}

type keyPlace struct{ key, value origin }

// keys finds the places of an object's keys, where the file writes it out.
func (b block) keys(name string) map[string]keyPlace {
	pairs, diags := hcl.ExprMap(b.attrs[name].Expr)
	if diags.HasErrors() {
		return nil
	}
	places := map[string]keyPlace{}
	for _, p := range pairs {
		k, diags := p.Key.Value(b.ctx)
		if diags.HasErrors() || k.IsMarked() || !k.IsKnown() || k.IsNull() {
			continue
		}
		if k, err := convert.Convert(k, cty.String); err == nil {
			places[k.AsString()] = keyPlace{origin{rng: p.Key.Range()}, origin{p.Value.Range(), p.Value, b.ctx}}
		}
	}
	return places
}

// checkSetting refuses settings that requorum owns, and those that the version
// of etcd does not have.
func (l *loader) checkSetting(name, version string, at origin) bool {
	if instead := owned(name); instead != "" {
		l.errorAt(at, "Setting that requorum owns", "%s is requorum's to set. %s", name, instead)
		return false
	}
	if _, known := etcdFlags[name]; known {
		if danger := dangerous[name]; danger != "" {
			l.warnAt(at, "Dangerous setting", "%s %s", name, danger)
		}
		return true
	}
	older := version != "" && minor(version) != supported[len(supported)-1]
	replacement, wasKnown := formerFlag(name)
	switch {
	case wasKnown && older:
		return true
	case wasKnown:
		l.errorAt(at, "Setting of an older etcd", "etcd %s has no setting %s any more.%s If an older etcd runs here, say so with version = \"3.6\".", supported[len(supported)-1], name, replacement)
	default:
		l.errorAt(at, "Unknown etcd setting", "etcd has no setting %q.%s", name, didYouMean(strings.TrimLeft(name, "-"), names(etcdFlags)))
	}
	return false
}

// settingValue writes a value as a command line has it.
func settingValue(v cty.Value) (string, error) {
	if v.IsNull() {
		return "", fmt.Errorf("has null in its list")
	}
	switch ty := v.Type(); {
	case ty == cty.Number:
		return formatNumber(v), nil
	case ty == cty.String, ty == cty.Bool:
		s, err := convert.Convert(v, cty.String)
		if err != nil {
			return "", err
		}
		return s.AsString(), nil
	case ty.IsTupleType(), ty.IsListType(), ty.IsSetType():
		var parts []string
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			if !e.Type().IsPrimitiveType() {
				return "", fmt.Errorf("has a list in its list; write strings, numbers or bools")
			}
			s, err := settingValue(e)
			if err != nil {
				return "", err
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("must be a string, a number, a bool or a list of them; it is %s", kindOf(v))
}

// checkSettingKind holds that etcd's flag would take the value.
func checkSettingKind(kind flagKind, s string) error {
	var err error
	switch kind {
	case flagBool:
		if _, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("must be true or false; it is %q", s)
		}
	case flagInt:
		if _, err = strconv.ParseInt(s, 0, 64); err != nil {
			return fmt.Errorf("must be a whole number; it is %q", s)
		}
	case flagUint:
		if _, err = strconv.ParseUint(s, 0, 64); err != nil {
			return fmt.Errorf("must be a whole number, not below 0; it is %q", s)
		}
	case flagDuration:
		if _, err = time.ParseDuration(s); err != nil {
			return fmt.Errorf("must be a time with its unit, like \"5m\" or \"100ms\"; it is %q", s)
		}
	}
	return nil
}
