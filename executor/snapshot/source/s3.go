package source

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/requorum/requorum/planner"
)

// Credentials are found in the environment, in the shared credentials file with
// AWS_PROFILE (credential_process too), in a web identity token, and in the role
// of a container or machine.
const (
	needCredentials = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"
	amazon          = "https://s3.amazonaws.com"
	signedFor       = time.Hour // one request; each has its own
	partSize        = 16 << 20  // of an upload; a buffer of this size is held
)

// s3Settings are what an s3 URL's query may have.
var s3Settings = map[string]bool{"endpoint": true, "region": true, "path_style": true}

func s3Client(p place) (*minio.Client, error) {
	no := func(format string, args ...any) error {
		return refuse(planner.CodeSnapshotUnsupported, nil, "%s: "+format, append([]any{p.shown()}, args...)...)
	}
	q := p.url.Query()
	for name := range q {
		if !s3Settings[name] {
			return nil, no("there is no setting of this name after its ?: endpoint, region and path_style are known")
		}
	}
	if p.url.User != nil {
		return nil, no("credentials have no place in its URL: %s", needCredentials)
	}
	endpoint := first(q.Get("endpoint"), os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), amazon)
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	at, err := url.Parse(endpoint)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || strings.Trim(at.Path, "/") != "" {
		return nil, no("its endpoint must be http(s)://HOST:PORT")
	}
	lookup := minio.BucketLookupAuto
	if v := q.Get("path_style"); v != "" {
		style, err := strconv.ParseBool(v)
		if err != nil {
			return nil, no("path_style must be true or false")
		}
		if lookup = minio.BucketLookupDNS; style {
			lookup = minio.BucketLookupPath
		}
	}
	c, err := minio.New(at.Host, &minio.Options{
		Creds: credentials.NewChainCredentials(providers()), Secure: at.Scheme == "https",
		Region:       first(q.Get("region"), os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
		BucketLookup: lookup, MaxRetries: limits.tries, Transport: impatient(),
	})
	if err != nil {
		return nil, no("%s", p.scrub(err.Error()))
	}
	return c, nil
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// providers are where credentials may come from, in AWS's order.
func providers() []credentials.Provider {
	list := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	role := first(os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
	if off, _ := strconv.ParseBool(os.Getenv("AWS_EC2_METADATA_DISABLED")); role != "" || !off {
		// Outside Amazon's machines nothing answers there.
		list = append(list, &credentials.IAM{Client: &http.Client{Timeout: 3 * time.Second}})
	}
	return list
}

// impatient is a transport whose connections end where nothing moves on them.
func impatient() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	dial := (&net.Dialer{Timeout: limits.stall}).DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &stalling{Conn: c, limit: 2 * limits.stall}, nil
	}
	return t
}

type stalling struct {
	net.Conn
	limit time.Duration
}

func (c *stalling) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(c.limit))
	return c.Conn.Read(p)
}

func (c *stalling) Write(p []byte) (int, error) {
	// What is being sent keeps the answer's time from running.
	_ = c.SetDeadline(time.Now().Add(c.limit))
	return c.Conn.Write(p)
}

// fetchS3 is Fetch of an object, or of the newest below a prefix.
func fetchS3(ctx context.Context, p place, o Options) (File, error) {
	c, err := s3Client(p)
	if err != nil {
		return File{}, err
	}
	if p.folder || p.object() == "" {
		list, err := listS3(ctx, p)
		if err != nil {
			return File{}, err
		}
		if len(list) == 0 {
			return File{}, refuse(planner.CodeSnapshotMissing, nil, "no snapshot is below %s: correct the prefix, or name the object", p.shown())
		}
		newest, err := parse(list[0].Name)
		if err != nil {
			return File{}, err
		}
		newest.hidden = p.hidden
		p = newest
	}
	t := &transfer{}
	t.request = func(ctx context.Context) (*http.Request, error) {
		u, err := signed(ctx, c, p)
		if err != nil {
			return nil, s3Problem(err, p)
		}
		t.anonymous = u.Query().Get("X-Amz-Signature") == ""
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	}
	return download(ctx, p, o, t)
}

// signed is the URL that the object can be had from for a while.
func signed(ctx context.Context, c *minio.Client, p place) (*url.URL, error) {
	creds, err := c.GetCreds()
	if err != nil {
		return nil, err
	}
	if !creds.SignerType.IsAnonymous() {
		return c.PresignedGetObject(ctx, p.bucket(), p.object(), signedFor, nil)
	}
	u := *c.EndpointURL()
	if u.Scheme+"://"+u.Host == amazon {
		u.Host, u.Path = p.bucket()+"."+u.Host, "/"+p.object()
	} else {
		u.Path = "/" + p.bucket() + "/" + p.object()
	}
	return &u, nil
}

// listS3 gives the snapshots right below a prefix, the newest first.
func listS3(ctx context.Context, p place) ([]Object, error) {
	c, err := s3Client(p)
	if err != nil {
		return nil, err
	}
	prefix := p.object()
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var out []Object
	for o := range c.ListObjects(ctx, p.bucket(), minio.ListObjectsOptions{Prefix: prefix}) {
		if o.Err != nil {
			return nil, s3Problem(o.Err, p)
		}
		if !strings.HasSuffix(o.Key, "/") && isSnapshotName(path.Base(o.Key)) {
			out = append(out, Object{Name: p.at(o.Key).name(), Size: o.Size, ModifiedAt: o.LastModified})
		}
	}
	newestFirst(out)
	return out, nil
}

// unfinishedS3 gives the uploads below a prefix that were begun and neither ended
// nor aborted.
func unfinishedS3(ctx context.Context, p place) ([]Object, error) {
	c, err := s3Client(p)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var out []Object
	for o := range c.ListIncompleteUploads(ctx, p.bucket(), p.object(), true) {
		if o.Err != nil {
			return nil, s3Problem(o.Err, p)
		}
		out = append(out, Object{Name: p.at(o.Key).name(), Size: o.Size, ModifiedAt: o.Initiated})
	}
	return out, nil
}

// removeS3 removes one object. S3 itself is content with one that is not there.
func removeS3(ctx context.Context, p place) error {
	if p.folder || p.object() == "" {
		return refuse(planner.CodeSnapshotUnsupported, nil, "%s is a prefix, and only single objects are removed", p.shown())
	}
	c, err := s3Client(p)
	if err != nil {
		return err
	}
	if _, err := c.StatObject(ctx, p.bucket(), p.object(), minio.StatObjectOptions{}); err != nil {
		return s3Problem(err, p)
	}
	if err := c.RemoveObject(ctx, p.bucket(), p.object(), minio.RemoveObjectOptions{}); err != nil {
		return s3Problem(err, p)
	}
	return nil
}

// withoutKeys is what a server said, which may repeat the keys that it was sent.
func withoutKeys(said string) string {
	for _, from := range []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}} {
		keys, err := from.RetrieveWithCredContext(nil)
		if err != nil {
			continue // the file may not be there
		}
		for _, key := range []string{keys.SecretAccessKey, keys.SessionToken, keys.AccessKeyID} {
			if key != "" {
				said = strings.ReplaceAll(said, key, "(sensitive)")
			}
		}
	}
	return said
}

// s3Problem explains an error of the S3 client.
func s3Problem(err error, p place) error {
	var is *Problem
	if errors.As(err, &is) {
		return is
	}
	var asURL *url.Error
	if errors.As(err, &asURL) {
		err = asURL.Err
	}
	r := minio.ToErrorResponse(err)
	said := withoutKeys(p.scrub(strings.TrimSuffix(first(r.Message, err.Error()), ".")))
	switch {
	case r.Code == minio.NoSuchKey || r.Code == "NotFound":
		return refuse(planner.CodeSnapshotMissing, err, "%s: there is no such object; correct the source", p.shown())
	case r.Code == minio.NoSuchBucket:
		return refuse(planner.CodeSnapshotMissing, err, "%s: there is no such bucket at this endpoint; correct the source", p.shown())
	case r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized:
		return refuse(planner.CodeSnapshotUnreadable, err, "%s: the server refused (%s: %s); look at the credentials and at the bucket's policy; where there are none, %s", p.shown(), r.Code, said, needCredentials)
	}
	return refuse(planner.CodeSnapshotUnreadable, err, "%s could not be reached: %s", p.shown(), said)
}
