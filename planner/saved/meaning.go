package saved

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/requorum/requorum/spec"
)

// Change is one thing in which two configurations differ.
type Change struct {
	// Path is what differs, "etcd.version", "member.m1.peer_urls"; a whole block where
	// one of them does not have it.
	Path string `json:"path"`
	// Before and After are its values as JSON; null where there is none.
	Before any `json:"before"`
	After  any `json:"after"`
	// Sensitive is true where the values are not shown.
	Sensitive bool          `json:"sensitive,omitempty"`
	Pos       spec.Position `json:"pos,omitzero"` // in the new one, or the old one's where it is gone
}

// meaning is a configuration as a tree without what has no meaning: where it stands,
// in which order members and hosts come.
func meaning(c *spec.Cluster) (map[string]any, error) {
	if c == nil {
		return nil, nil
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	for _, k := range []struct{ list, one string }{{"members", "member"}, {"hosts", "host"}} {
		named := map[string]any{}
		list, _ := tree[k.list].([]any)
		for _, x := range list {
			if m, ok := x.(map[string]any); ok {
				named[fmt.Sprint(m["name"])] = m
			}
		}
		delete(tree, k.list)
		tree[k.one] = named
	}
	delete(tree, "dir")
	strip(tree)
	if e, ok := tree["etcd"].(map[string]any); ok {
		delete(e, "config_pos") // the positions in it went
	}
	settle(tree, c)
	return tree, nil
}

// settle takes out what means the same as not being there: a host that no member is
// on, a default that is written out, an order that does not matter.
func settle(tree map[string]any, c *spec.Cluster) {
	hosts, _ := tree["host"].(map[string]any)
	for name := range hosts {
		if !slices.ContainsFunc(c.Members, func(m spec.Member) bool { return m.Host == name }) {
			delete(hosts, name)
		}
	}
	policy, _ := tree["policy"].(map[string]any)
	if prevent, ok := policy["prevent"].([]any); ok {
		slices.SortFunc(prevent, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		policy["prevent"] = slices.Compact(prevent)
	}
	if policy["snapshot_before"] == "never" {
		delete(policy, "snapshot_before")
	}
	if len(policy) == 0 {
		delete(tree, "policy")
	}
}

func strip(v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	for k, x := range m {
		if isPosition(k, x) {
			delete(m, k)
			continue
		}
		// URLs are a set.
		if list, ok := x.([]any); ok && strings.HasSuffix(k, "_urls") {
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		strip(x)
	}
}

// Diff gives what a configuration means that another does not, sorted by path.
// Secrets are compared too, and not shown.
func Diff(old, new *spec.Cluster) ([]Change, error) {
	a, err := meaning(old)
	if err != nil {
		return nil, err
	}
	b, err := meaning(new)
	if err != nil {
		return nil, err
	}
	var out []Change
	walk("", a, b, &out)
	for i := range out {
		if out[i].Pos = positionOf(new, out[i].Path); out[i].After == nil {
			out[i].Pos = positionOf(old, out[i].Path)
		}
	}
	secret := func(path, was, is string, pos spec.Position) {
		if was != is && !slices.ContainsFunc(out, func(c Change) bool { return c.Path == path }) {
			out = append(out, Change{Path: path, Sensitive: true, Pos: pos})
		}
	}
	if x, y := old.Snapshot, new.Snapshot; x != nil && y != nil && (x.Sensitive || y.Sensitive) {
		out = slices.DeleteFunc(out, func(c Change) bool { return c.Path == "snapshot.source" || c.Path == "snapshot.sensitive" })
		secret("snapshot.source", x.Source, y.Source, y.SourcePos)
	}
	if x, y := old.Auth, new.Auth; x != nil && y != nil {
		secret("auth.password", x.Password.Reveal(), y.Password.Reveal(), y.Pos)
	}
	slices.SortFunc(out, func(x, y Change) int { return strings.Compare(x.Path, y.Path) })
	return out, nil
}

// walk compares two trees: where both have a block its parts are compared, and a
// member or host that only one has is one change.
func walk(path string, a, b any, out *[]Change) {
	x, okA := a.(map[string]any)
	y, okB := b.(map[string]any)
	if path == "" || okA && okB {
		var keys []string
		for k := range x {
			keys = append(keys, k)
		}
		for k := range y {
			if _, both := x[k]; !both {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			walk(strings.TrimPrefix(path+"."+k, "."), x[k], y[k], out)
		}
		return
	}
	ab, _ := json.Marshal(a)
	bb, _ := json.Marshal(b)
	if !bytes.Equal(ab, bb) {
		*out = append(*out, Change{Path: path, Before: a, After: b})
	}
}

// positionOf is the line that a path comes from, as near as it is known.
func positionOf(c *spec.Cluster, path string) spec.Position {
	block, rest, _ := strings.Cut(path, ".")
	switch {
	case block == "member":
		for _, m := range c.Members {
			if rest == m.Name || strings.HasPrefix(rest, m.Name+".") {
				return m.Pos
			}
		}
	case block == "host":
		for _, h := range c.Hosts {
			if rest == h.Name || strings.HasPrefix(rest, h.Name+".") {
				return h.Pos
			}
		}
	case path == "etcd.version":
		return c.Etcd.VersionPos
	case path == "etcd.binary":
		return c.Etcd.BinaryPos
	case block == "etcd":
		if name, ok := strings.CutPrefix(rest, "config."); ok && c.Etcd.ConfigPos[name].File != "" {
			return c.Etcd.ConfigPos[name]
		}
		return c.Etcd.Pos
	case path == "snapshot.source" && c.Snapshot != nil:
		return c.Snapshot.SourcePos
	case block == "snapshot" && c.Snapshot != nil:
		return c.Snapshot.Pos
	case block == "tls" && c.TLS != nil:
		return c.TLS.Pos
	case block == "auth" && c.Auth != nil:
		return c.Auth.Pos
	case block == "recover" && c.Recover != nil:
		return c.Recover.Pos
	case block == "policy":
		return c.Policy.Pos
	}
	return c.Pos
}

// NameFiles gives c with its files below folder from, as positions have them, named
// below to: where they were read from is gone when somebody reads a position.
func NameFiles(c *spec.Cluster, from, to string) (*spec.Cluster, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	nameFiles(tree, from+"/", to+"/")
	if b, err = json.Marshal(tree); err != nil {
		return nil, err
	}
	out := &spec.Cluster{}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, err
	}
	if c.Auth != nil {
		out.Auth.Password = c.Auth.Password
	}
	if c.Snapshot != nil {
		out.Snapshot.Source = c.Snapshot.Source
	}
	return out, nil
}

func nameFiles(v any, from, to string) {
	m, ok := v.(map[string]any)
	if list, isList := v.([]any); isList {
		for _, x := range list {
			nameFiles(x, from, to)
		}
	}
	if !ok {
		return
	}
	for k, x := range m {
		if at, ok := x.(map[string]any); ok && isPosition(k, x) {
			if rest, below := strings.CutPrefix(fmt.Sprint(at["file"]), from); below {
				at["file"] = to + rest
			}
			continue
		}
		nameFiles(x, from, to)
	}
}

// isPosition reports whether the value of a key says where something stands. Members,
// hosts and settings may have such names too.
func isPosition(key string, v any) bool {
	m, ok := v.(map[string]any)
	if !ok || key != "pos" && !strings.HasSuffix(key, "_pos") {
		_, file := m["file"].(string)
		_, line := m["line"].(json.Number)
		return file && line && len(m) == 3 // of one setting
	}
	for k := range m {
		if k != "file" && k != "line" && k != "column" {
			return false
		}
	}
	return true
}
