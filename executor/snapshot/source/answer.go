package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/requorum/requorum/planner"
)

// maxRedirects is how often a server may send us elsewhere.
const maxRedirects = 5

// webClient is for downloads: the environment's proxies, no compression on the
// way, and redirects that carry nothing secret with them.
func webClient(p place) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression, t.DisableKeepAlives = true, true
	t.ResponseHeaderTimeout = 2 * limits.stall // a try has its own clock, whose words are clearer
	return &http.Client{Transport: t, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		req.Header.Del("Referer") // it has our query
		switch {
		case len(via) > maxRedirects:
			return refuse(planner.CodeSnapshotUnreadable, nil, "%s: the server redirected %d times, to %s at last", p.shown(), maxRedirects+1, target(p, req.URL))
		case req.URL.Scheme != "http" && req.URL.Scheme != "https":
			return refuse(planner.CodeSnapshotUnreadable, nil, "%s: the server redirected to %s://, which is not followed", p.shown(), req.URL.Scheme)
		case via[0].URL.Scheme == "https" && req.URL.Scheme == "http":
			return refuse(planner.CodeSnapshotUnreadable, nil, "%s: the server redirected from https to plain http (%s), which is not followed", p.shown(), target(p, req.URL))
		}
		return nil
	}}
}

// target is where a redirect leads, as it may be shown.
func target(p place, u *url.URL) string {
	return place{scheme: u.Scheme, url: u, hidden: p.hidden}.shown()
}

// failed explains an error of the network. It is a *Problem where trying again
// won't help.
func (t *transfer) failed(ctx context.Context, err error) error {
	var (
		p        *Problem
		asURL    *url.Error
		notFound *net.DNSError
		cert     *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		record   tls.RecordHeaderError
	)
	if errors.As(err, &p) {
		return p
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause // it stalled
	}
	if errors.As(err, &asURL) {
		err = asURL.Err // the URL is quoted before it
	}
	no := func(what, remedy string) error {
		return refuse(planner.CodeSnapshotUnreadable, err, "%s could not be fetched: %s (%s): %s", t.place.shown(), what, t.place.scrub(err.Error()), remedy)
	}
	switch {
	case errors.As(err, &notFound) && notFound.IsNotFound:
		return no("its host is not known", "correct the name, or the name server of this machine")
	case errors.As(err, &cert), errors.As(err, &unknown):
		return no("the server's certificate is not trusted", "add its CA to those of this machine, or set SSL_CERT_FILE")
	case errors.As(err, &record):
		return no("the server speaks no TLS there", "write http://, or correct the port")
	}
	return err
}

// status explains an answer that has no file in it.
func (t *transfer) status(resp *http.Response) error {
	said := strconv.Itoa(resp.StatusCode)
	if text := http.StatusText(resp.StatusCode); text != "" {
		said += " " + text
	}
	// S3 says more.
	var s3 struct{ Code, Message string }
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if xml.Unmarshal(body, &s3) == nil && s3.Code != "" {
		said += ", " + s3.Code
		if s3.Message != "" {
			said += ": " + strings.TrimSuffix(s3.Message, ".")
		}
	}
	said = t.place.scrub(said)
	shown := t.place.shown()
	no := func(code planner.Code, format string, args ...any) error {
		return refuse(code, nil, "%s: the server answered %s: %s", shown, said, fmt.Sprintf(format, args...))
	}
	who := "give user and password in the URL, from a sensitive variable"
	if t.place.scheme == "s3" {
		who = "look at the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, the machine's role) and at the bucket's policy"
		if t.anonymous {
			who = "no credentials were found: " + needCredentials
		}
	}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized:
		return no(planner.CodeSnapshotUnreadable, "it wants to know who asks; %s", who)
	case code == http.StatusProxyAuthRequired:
		return no(planner.CodeSnapshotUnreadable, "the proxy wants to know who asks; give user and password in HTTPS_PROXY or HTTP_PROXY")
	case code == http.StatusForbidden:
		return no(planner.CodeSnapshotUnreadable, "this user may not read it, or a signed URL has ended; %s", who)
	case code == http.StatusNotFound || code == http.StatusGone:
		return no(planner.CodeSnapshotMissing, "there is no such file; correct the source")
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return fmt.Errorf("the server answered %s", said)
	case code >= 300 && code < 400:
		return no(planner.CodeSnapshotUnreadable, "it redirects, and says not where; correct the source")
	}
	return no(planner.CodeSnapshotUnreadable, "correct the source, or use another")
}

// versionOf reads which version an answer is about. total is -1 where unknown.
func versionOf(resp *http.Response, total int64) version {
	v := version{ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified"), Size: total}
	changed, err1 := http.ParseTime(v.LastModified)
	now, err2 := http.ParseTime(resp.Header.Get("Date"))
	// RFC 9110, section 8.8.2.2: a time has the resolution of a second.
	v.Exact = err1 == nil && err2 == nil && now.Sub(changed) > 2*time.Second
	if total < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 {
		// Its end is where the connection ends, whyever that is: such a one is
		// never gone on with, and never taken again without fetching it.
		v.ETag, v.Exact = "", false
	}
	return v
}

// validator is what a range may be asked for with, "" for none: the bytes of one
// version must never follow those of another.
func (v version) validator() string {
	switch {
	case v.ETag != "" && !strings.HasPrefix(v.ETag, "W/"):
		return v.ETag
	case v.ETag == "" && v.Exact:
		return v.LastModified
	}
	return ""
}

// tied tells whether a part that came later is of this version, by what the server says
// of it. One that says nothing may not have looked at If-Range.
func (v version) tied(later http.Header) bool {
	if v.ETag != "" {
		return later.Get("ETag") == v.ETag
	}
	return later.Get("ETag") == "" && later.Get("Last-Modified") == v.LastModified
}

// modifiedAt is when the server's file was last changed, RFC 3339, "" if
// unknown.
func (v version) modifiedAt() string {
	t, err := http.ParseTime(v.LastModified)
	if err != nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// contentRange reads "bytes FROM-TO/TOTAL"; total is -1 where it is "*".
func contentRange(s string) (from, total int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(rest, "/")
	first, _, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, errors.New("no range")
	}
	if from, err = strconv.ParseInt(first, 10, 64); err != nil {
		return 0, 0, err
	}
	if all == "*" {
		return from, -1, nil
	}
	total, err = strconv.ParseInt(all, 10, 64)
	return from, total, err
}
