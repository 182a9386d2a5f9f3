package rescue

import (
	"fmt"
	"strings"

	"github.com/requorum/requorum/spec"
)

// Text is the file in HCL, the same for the same findings. What is not known stands
// in it as comments.
func (f *File) Text() string {
	w := &writer{}
	if f.living {
		w.livingHead(f)
		w.hosts(f.Cluster.Hosts)
		w.cluster(f)
		return w.String()
	}
	w.line("# Written by requorum rescue from the disks that were found. Read it, then:")
	w.line("# requorum plan THIS-FILE")
	w.line("#")
	w.line("# Found, the disk that goes furthest first:")
	for _, s := range f.Survivors {
		note := ""
		if s.Note != "" {
			note = ", " + s.Note
		}
		w.comment(fmt.Sprintf("  %s: %s, %s%s", s.Name, s.DataDir, s.Last, note))
	}
	if len(f.Missing) > 0 {
		w.line("#")
		w.line("# Members without a disk here. If one has its disk elsewhere, bring that back first:")
		w.line("# it may hold writes that no other disk has.")
		for _, m := range f.Missing {
			w.comment("  " + missingText(m))
		}
	}
	for _, part := range []struct {
		head string
		list []string
	}{{"Found, and not in this file:", f.Left}, {"To be filled in, or looked at:", f.Gaps}} {
		if len(part.list) == 0 {
			continue
		}
		w.line("#")
		w.line("# " + part.head)
		for _, l := range part.list {
			w.comment("  " + l)
		}
	}
	w.line("")
	w.cluster(f)
	return w.String()
}

func missingText(m Missing) string {
	text := fmt.Sprintf("%s: ID %s, peer URLs %s", nameOf(m.ListedMember), m.ID, strings.Join(m.PeerURLs, ", "))
	if m.Name == "" {
		text += ", was added and never started"
	}
	if m.Learner {
		text += ", a learner"
	}
	switch {
	case m.Known:
		text += "; requorum had it at " + m.DataDir
	case m.DataDir != "":
		text += "; its address is of this machine, and its data_dir a guess by the others' example"
	}
	return text
}

// writer collects lines.
type writer struct{ strings.Builder }

func (w *writer) line(text string) { w.WriteString(text + "\n") }

// comment writes one line, whatever is in the text.
func (w *writer) comment(text string) { w.line("# " + OneLine(text)) }

// OneLine is a text without what could end a line or steer a terminal.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, text)
}

func (w *writer) cluster(f *File) {
	c := f.Cluster
	w.line(fmt.Sprintf("cluster %s {", quote(c.Name)))
	w.line("  id = " + quote(c.ID))
	if c.Etcd.Version != "" || c.Etcd.Binary != "" {
		w.line("")
		w.line("  etcd {")
		w.attribute("    ", "version", c.Etcd.Version)
		w.attribute("    ", "binary", c.Etcd.Binary)
		w.line("  }")
	}
	for _, m := range c.Members {
		w.member(m)
	}
	for _, m := range f.Missing {
		if m.DataDir == "" {
			w.missing(m)
		}
	}
	if c.TLS != nil {
		w.line("")
		w.line("  tls {")
		w.pair("client", c.TLS.Client)
		w.pair("peer", c.TLS.Peer)
		w.line("  }")
	}
	w.line("}")
}

func (w *writer) member(m spec.Member) {
	w.line("")
	w.line(fmt.Sprintf("  member %s {", quote(m.Name)))
	w.attribute("    ", "host", m.Host)
	w.list("peer_urls", m.PeerURLs)
	w.list("client_urls", m.ClientURLs)
	w.list("listen_peer_urls", m.ListenPeerURLs)
	w.list("listen_client_urls", m.ListenClientURLs)
	w.attribute("    ", "data_dir", m.DataDir)
	w.attribute("    ", "wal_dir", m.WALDir)
	if m.Learner {
		w.line("    learner = true")
	}
	w.line("  }")
}

// missing writes a member as a comment, to be filled in.
func (w *writer) missing(m Missing) {
	client := "[…]"
	if len(m.ClientURLs) > 0 {
		client = quoted(m.ClientURLs)
	}
	w.line("")
	w.line("  # Fill in where its host and its data directory are, then take the marks away:")
	w.line(fmt.Sprintf("  # member %s {", quote(or(m.Name, "m-"+m.ID))))
	w.line("  #   host        = …")
	w.line("  #   peer_urls   = " + quoted(m.PeerURLs))
	w.line("  #   client_urls = " + client)
	w.line("  #   data_dir    = …")
	if m.Learner {
		w.line("  #   learner     = true")
	}
	w.line("  # }")
}

func (w *writer) pair(name string, k *spec.KeyPair) {
	if k == nil {
		return
	}
	w.line(fmt.Sprintf("    %s {", name))
	w.attribute("      ", "ca", k.CA)
	w.attribute("      ", "cert", k.Cert)
	w.attribute("      ", "key", k.Key)
	w.line("    }")
}

func (w *writer) attribute(indent, name, value string) {
	if value != "" {
		w.line(indent + name + " = " + quote(value))
	}
}

func (w *writer) list(name string, values []string) {
	if len(values) > 0 {
		w.line("    " + name + " = " + quoted(values))
	}
}

func quoted(values []string) string {
	var out []string
	for _, v := range values {
		out = append(out, quote(v))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// quote writes a string as HCL takes it: nothing in it is a template.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		next := s[i:]
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case strings.HasPrefix(next, "${") || strings.HasPrefix(next, "%{"):
			b.WriteRune(r)
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
