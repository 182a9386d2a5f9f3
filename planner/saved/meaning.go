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
	return tree, nil
}

func strip(v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	for k, x := range m {
		if _, object := x.(map[string]any); object && (k == "pos" || strings.HasSuffix(k, "_pos")) {
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

// Rebase gives c as if its folder were dir: paths below its folder are below dir. So
// two checkouts of one repository are compared by what they say, not by where they
// lie. What is secret stays as it was. Where files is not "", positions name it in
// place of the folder.
func Rebase(c *spec.Cluster, dir, files string) (*spec.Cluster, error) {
	from := strings.TrimSuffix(c.Dir, "/") + "/"
	if c.Dir == "" || c.Dir == dir || from == "/" {
		return c, nil
	}
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
	rebase(tree, from, strings.TrimSuffix(dir, "/")+"/", files)
	if b, err = json.Marshal(tree); err != nil {
		return nil, err
	}
	out := &spec.Cluster{}
	if err := json.Unmarshal(b, out); err != nil {
		return nil, err
	}
	out.Dir = dir
	if c.Auth != nil {
		out.Auth.Password = c.Auth.Password
	}
	if c.Snapshot != nil && c.Snapshot.Sensitive {
		out.Snapshot.Source = c.Snapshot.Source
		if rest, ok := strings.CutPrefix(c.Snapshot.Source, from); ok {
			out.Snapshot.Source = strings.TrimSuffix(dir, "/") + "/" + rest
		}
	}
	return out, nil
}

func rebase(v any, from, to, files string) {
	text := func(x any) any {
		if s, ok := x.(string); ok {
			if rest, below := strings.CutPrefix(s, from); below {
				return to + rest
			}
		}
		return x
	}
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if _, object := x.(map[string]any); object && (k == "pos" || strings.HasSuffix(k, "_pos")) {
				if files != "" {
					rebase(x, from, files+"/", files)
				}
				continue // or else where it really stands
			}
			v[k] = text(x)
			rebase(v[k], from, to, files)
		}
	case []any:
		for i, x := range v {
			v[i] = text(x)
			rebase(v[i], from, to, files)
		}
	}
}
