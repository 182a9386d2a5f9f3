package load

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// endpoint is a peer or client URL that has passed its own checks.
type endpoint struct {
	url    string // as etcd gets it
	scheme string
	host   string // lower case; an IP address in its shortest form
	port   string
	ip     bool // host is an IP address
	at     origin
}

// socket is what two URLs can't share.
func (e endpoint) socket() string { return e.host + " " + e.port }

// wildcard tells whether e stands for every address of a machine.
func (e endpoint) wildcard() bool { return e.host == "0.0.0.0" || e.host == "::" }

// bindable follows checkBindURLs in etcd's server/embed/config.go: etcd listens
// on addresses and, as the one name, localhost.
func (e endpoint) bindable() bool { return e.ip || e.host == "localhost" }

// endpoints reads a list of URLs, leaving out those that are wrong.
func (b block) endpoints(name string) []endpoint {
	list := b.texts(name)
	if list != nil && len(list) == 0 {
		b.l.errorAt(b.at(name), "Empty value", "%s has no URL in it.%s", name, b.leaveOut(name))
	}
	var out []endpoint
	seen := map[string]bool{}
	for _, t := range list {
		e, ok := b.l.endpoint(name, t)
		if !ok {
			continue
		}
		if seen[e.socket()] {
			b.l.errorAt(t.at, "Duplicate URL", "%s is in %s twice.", e.url, name)
			continue
		}
		seen[e.socket()] = true
		out = append(out, e)
	}
	return out
}

func (l *loader) endpoint(name string, t text) (endpoint, bool) {
	if strings.Contains(t.string, "@") { // it may be a part of what is told of any other mistake
		l.hideText(t.string)
		l.errorAt(t.at, "URL with a user", "%s has a URL with a user in it, which members have no use for, and which every plan would show. Name user and password in the auth block.", name)
		return endpoint{}, false
	}
	u, err := url.Parse(t.string)
	if err != nil {
		// err quotes the URL with its user; its own cause does not.
		if ue, ok := err.(*url.Error); ok {
			err = ue.Err
		}
		l.errorAt(t.at, "Invalid URL", "This is not a URL: %s. A URL of a member is like http://10.0.0.1:2380.", err)
		return endpoint{}, false
	}
	problems := urlProblems(u)
	for _, p := range problems {
		l.errorAt(t.at, p.summary, "%s has %s %s", name, u.Redacted(), p.detail)
	}
	if len(problems) > 0 {
		return endpoint{}, false
	}
	e := endpoint{url: u.String(), scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port(), at: t.at}
	if ip, err := netip.ParseAddr(e.host); err == nil {
		e.host, e.ip = ip.String(), true
	}
	if n, err := strconv.Atoi(e.port); err == nil {
		e.port = strconv.Itoa(n)
	}
	return e, true
}

type problem struct{ summary, detail string }

// urlProblems are all that etcd itself, or its members among each other, would
// refuse in a URL (types.NewURLs in etcd's client/pkg).
func urlProblems(u *url.URL) []problem {
	if u.Scheme != "http" && u.Scheme != "https" {
		return []problem{{"Invalid URL scheme", "whose scheme is neither http nor https. Write http:// or https:// before the address."}}
	}
	var list []problem
	if u.Hostname() == "" {
		list = append(list, problem{"URL without a host", "without a host: write the address, too, as in http://10.0.0.1:2380."})
	}
	if port, err := strconv.Atoi(u.Port()); u.Port() == "" {
		list = append(list, problem{"URL without a port", "without a port: etcd has no default. Usual are 2380 for peers and 2379 for clients."})
	} else if err != nil || port < 1 || port > 65535 {
		list = append(list, problem{"Invalid port", "whose port is not between 1 and 65535."})
	}
	if u.Path != "" {
		list = append(list, problem{"URL with a path", "with a path, which etcd refuses: end it after the port."})
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		list = append(list, problem{"URL with a query", "with a query or fragment: end it after the port."})
	}
	return list
}

func urls(list []endpoint) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.url)
	}
	return out
}
