package systemd

import (
	"strings"
	"testing"
)

// Lines as journalctl of systemd 252 prints them.
const journalOf37 = `{"MESSAGE":"Starting etcd.service - etcd...","PRIORITY":"6","_PID":"1","_COMM":"systemd","_SYSTEMD_UNIT":"init.scope","INVOCATION_ID":"new","__REALTIME_TIMESTAMP":"1700000000000000"}
{"MESSAGE":"{\"level\":\"error\",\"ts\":\"2023-11-14T22:13:10.000000Z\",\"msg\":\"of before\"}","PRIORITY":"6","_PID":"40","_COMM":"etcd","_SYSTEMD_UNIT":"etcd.service","_SYSTEMD_INVOCATION_ID":"old","__REALTIME_TIMESTAMP":"1699999990000000"}
{"MESSAGE":"{\"level\":\"warn\",\"ts\":\"2023-11-14T22:13:20.000000Z\",\"msg\":\"slow\"}","PRIORITY":"6","_PID":"41","_COMM":"etcd","_SYSTEMD_UNIT":"etcd.service","_SYSTEMD_INVOCATION_ID":"new","__REALTIME_TIMESTAMP":"1700000000000000"}
{"MESSAGE":"{\"level\":\"fatal\",\"ts\":\"2023-11-14T22:13:20.000000Z\",\"msg\":\"discovery failed\",\"error\":\"member abc has already been bootstrapped\"}","PRIORITY":"6","_PID":"41","_COMM":"etcd","_SYSTEMD_UNIT":"etcd.service","_SYSTEMD_INVOCATION_ID":"new","__REALTIME_TIMESTAMP":"1700000000000000"}
{"MESSAGE":"etcd.service: Main process exited, code=exited, status=1/FAILURE","PRIORITY":"5","_PID":"1","_COMM":"systemd","_SYSTEMD_UNIT":"init.scope","INVOCATION_ID":"new","__REALTIME_TIMESTAMP":"1700000000000000"}
{"MESSAGE":"Failed to start etcd.service - etcd.","PRIORITY":"3","_PID":"1","_COMM":"systemd","_SYSTEMD_UNIT":"init.scope","INVOCATION_ID":"new","__REALTIME_TIMESTAMP":"1700000000000000"}
`

func TestJournalOfJSON(t *testing.T) {
	s := parseJournal([]byte(journalOf37), "etcd.service", "new")
	if got := s.words(); got != "discovery failed: member abc has already been bootstrapped" {
		t.Errorf("%q", got)
	}
	if strings.Contains(string(s.etcd), "of before") || !strings.Contains(string(s.before), "of before") {
		t.Errorf("%q, before: %q", s.etcd, s.before)
	}
}

// etcd 3.4 writes to the journal itself, without time or level in the text.
func TestJournalOf34(t *testing.T) {
	text := `{"MESSAGE":"etcd Version: 3.4.23","PRIORITY":"6","_PID":"41","_COMM":"etcd","_SYSTEMD_UNIT":"etcd.service","_SYSTEMD_INVOCATION_ID":"new","__REALTIME_TIMESTAMP":"1700000000000000"}
{"MESSAGE":"the member has been permanently removed from the cluster","PRIORITY":"3","_PID":"41","_COMM":"etcd","_SYSTEMD_UNIT":"etcd.service","_SYSTEMD_INVOCATION_ID":"new","__REALTIME_TIMESTAMP":"1700000000000000"}
`
	s := parseJournal([]byte(text), "etcd.service", "new")
	if got := s.words(); got != "the member has been permanently removed from the cluster" {
		t.Errorf("%q", got)
	}
	if signs := s.signs(false); len(signs) != 1 || signs[0].Kind != "removed" {
		t.Errorf("%+v", signs)
	}
}

// What a child says before it is etcd is systemd's.
func TestJournalBeforeExec(t *testing.T) {
	text := `{"MESSAGE":"etcd.service: Failed at step EXEC spawning /opt/etcd: No such file or directory","PRIORITY":"3","_PID":"77","_COMM":"(etcd)","_SYSTEMD_UNIT":"etcd.service","_SYSTEMD_INVOCATION_ID":"new"}
{"MESSAGE":[112,97,110,105,99,58,32,255,120],"PRIORITY":"6","_PID":"41","_COMM":"etcd","_SYSTEMD_UNIT":"etcd.service","_SYSTEMD_INVOCATION_ID":"old"}
`
	s := parseJournal([]byte(text), "etcd.service", "new")
	if got := s.words(); !strings.Contains(got, "Failed at step EXEC spawning /opt/etcd") {
		t.Errorf("%q", got)
	}
	p := properties{"Result": "exit-code", "ExecMainStatus": "203"}
	if got := explain(p, s.words()); !strings.HasPrefix(got, "its program can't be executed (status 203): ") {
		t.Errorf("%q", got)
	}
	if s = parseJournal([]byte(text), "etcd.service", "old"); s.words() == "" || !strings.HasPrefix(s.words(), "panic: ") {
		t.Errorf("%q", s.words())
	}
}

func TestExplain(t *testing.T) {
	for want, c := range map[string]struct {
		p     properties
		words string
	}{
		"no match found":         {properties{"Result": "exit-code", "ExecMainStatus": "1"}, "no match found"},
		"it ended with status 2": {properties{"Result": "exit-code", "ExecMainStatus": "2"}, ""},
		"it did not report within the unit's time that it serves (TimeoutStartSec; without a quorum it can't): waits": {properties{"Result": "timeout"}, "waits"},
		"its user does not exist (status 217: etcd)":                                                                  {properties{"Result": "exit-code", "ExecMainStatus": "217", "User": "etcd"}, ""},
	} {
		if got := explain(c.p, c.words); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
