package process

import (
	"strings"

	"github.com/requorum/requorum/executor/host"
	"github.com/requorum/requorum/planner"
)

// fenced says why no etcd can be started where a fence stands; "" for none.
func fenced(l host.Layout) string {
	text := l.FenceText()
	if text == "" {
		return ""
	}
	return "fenced: " + strings.TrimSpace(text)
}

// Unfenced forgets that a supervisor gave up because of a fence that is no more.
func Unfenced(l host.Layout) error {
	st, err := readState(l)
	if err != nil || st.State != planner.ServiceFailed || !strings.HasPrefix(st.LastError, "fenced: ") || fenced(l) != "" {
		return nil
	}
	st.State, st.Since, st.LastError = planner.ServiceStopped, timestamp(), ""
	return writeJSON(l.SupervisorState(), st)
}
