package render

import "testing"

func TestPath(t *testing.T) {
	for _, tc := range []struct{ dir, text, want string }{
		{"", "/a/b", "/a/b"},
		{"/", "/a/b", "/a/b"},
		{"/a", "/a/b and (/a/c:3)", "b and (c:3)"},
		{"/a/", "/a/b", "b"},
		{"/a", "/b/a/c", "/b/a/c"},
		{"/a", "/ab/c", "/ab/c"},
	} {
		if got := (Style{Dir: tc.dir}).path(tc.text); got != tc.want {
			t.Errorf("%q from %q: %q, want %q", tc.text, tc.dir, got, tc.want)
		}
	}
}
