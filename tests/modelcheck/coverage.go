package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/requorum/requorum/planner"
)

// coverage counts what was reached.
type coverage struct {
	mu      sync.Mutex
	routes  map[planner.Route]int
	codes   map[planner.Code]int
	actions map[string]int
}

func newCoverage() *coverage {
	return &coverage{routes: map[planner.Route]int{}, codes: map[planner.Code]int{}, actions: map[string]int{}}
}

func (c *coverage) plan(p *planner.Plan) verdict {
	if c.routes == nil {
		*c = coverage{routes: map[planner.Route]int{}, codes: map[planner.Code]int{}, actions: map[string]int{}}
	}
	if p.Refusal != nil {
		c.codes[p.Refusal.Code]++
		return refusalOf(p.Refusal.Code)
	}
	c.routes[p.Route]++
	return verdict(slices.Index(planner.Routes(), p.Route))
}

// refusalOf numbers the refusals, after the routes.
func refusalOf(code planner.Code) verdict {
	codesMu.Lock()
	defer codesMu.Unlock()
	n, ok := codeNumbers[code]
	if !ok {
		n = verdict(len(planner.Routes()) + len(codeNumbers))
		codeNumbers[code] = n
	}
	return n
}

var (
	codesMu     sync.Mutex
	codeNumbers = map[planner.Code]verdict{}
)

func (c *coverage) action(kind string) { c.actions[kind]++ }

func (c *coverage) merge(o *coverage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, n := range o.routes {
		c.routes[k] += n
	}
	for k, n := range o.codes {
		c.codes[k] += n
	}
	for k, n := range o.actions {
		c.actions[k] += n
	}
}

// missing names what nothing led to.
func (c *coverage) missing(codes []planner.Code) (out []string) {
	for _, r := range planner.Routes() {
		if c.routes[r] == 0 {
			out = append(out, "the route "+string(r))
		}
	}
	for _, code := range codes {
		if c.codes[code] == 0 {
			out = append(out, "the refusal "+string(code))
		}
	}
	for _, a := range planner.Actions() {
		if c.actions[a.Kind()] == 0 {
			out = append(out, "the action "+a.Kind())
		}
	}
	return out
}

func (c *coverage) print(out io.Writer, perRoute map[string]int) {
	fmt.Fprintln(out, "route         states")
	for _, r := range planner.Routes() {
		fmt.Fprintf(out, "%-12s %7d\n", r, perRoute[string(r)])
	}
	fmt.Fprintf(out, "%-12s %7d\n", "refused", perRoute["refused"])
	var codes, actions []string
	for k := range c.codes {
		codes = append(codes, fmt.Sprintf("%s %d", k, c.codes[k]))
	}
	for k := range c.actions {
		actions = append(actions, fmt.Sprintf("%s %d", k, c.actions[k]))
	}
	slices.Sort(codes)
	slices.Sort(actions)
	fmt.Fprintf(out, "refusals: %s\nactions: %s\n", strings.Join(codes, ", "), strings.Join(actions, ", "))
}

// refusalCodes reads the planner's refusals from its source: the constants called
// Code… in planner/refusal.go, so that a new one is covered or missed by its name.
func refusalCodes() ([]planner.Code, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return nil, fmt.Errorf("no go.mod above the working folder: run it from the repository")
		}
		dir = filepath.Dir(dir)
	}
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, "planner", "refusal.go"), nil, 0)
	if err != nil {
		return nil, err
	}
	var out []planner.Code
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Names) != 1 || !strings.HasPrefix(v.Names[0].Name, "Code") || len(v.Values) != 1 {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, planner.Code(s))
			}
		}
		return true
	})
	if len(out) == 0 {
		return nil, fmt.Errorf("planner/refusal.go has no refusals")
	}
	return out, nil
}
