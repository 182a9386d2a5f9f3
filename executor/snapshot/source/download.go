package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/requorum/requorum/planner"
)

// patience is how long a server may take. Deadlines hold for progress, never for
// the whole: nobody knows how long a large file takes.
type patience struct {
	stall time.Duration // without an answer, or without a further byte
	wait  time.Duration // before the second try; twice as long before each further one
	tries int           // in a row that brought nothing
	all   int           // at most
}

// limits are those in use. Tests shorten them.
var limits = patience{stall: 20 * time.Second, wait: time.Second, tries: 4, all: 100}

// transfer is one download into the cache.
type transfer struct {
	place place
	store *store
	o     Options
	// request makes a GET for the file. Each try has its own: a signed URL may
	// have ended meanwhile.
	request func(context.Context) (*http.Request, error)
	client  *http.Client
	// anonymous says that no credentials were found to sign requests with.
	anonymous bool
}

// fetched is a finished download.
type fetched struct {
	path string
	version
	fresh bool // it came over the network now
}

// run gives the file as the server has it now: from the cache where that is
// still it, else fetched to its end, from where an earlier try stopped.
func (t *transfer) run(ctx context.Context) (fetched, error) {
	wait, idle := limits.wait, 0
	var last error
	for try := 0; try < limits.all && idle < limits.tries; try++ {
		if try > 0 {
			if err := pause(ctx, wait); err != nil {
				return fetched{}, t.ended(ctx)
			}
			wait = min(2*wait, limits.stall)
		}
		got, n, err := t.try(ctx)
		var p *Problem
		switch {
		case err == nil:
			return got, nil
		case ctx.Err() != nil:
			return fetched{}, t.ended(ctx)
		case errors.As(err, &p):
			return fetched{}, t.withCopy(err)
		}
		last = err
		if idle++; n > 0 {
			wait, idle = limits.wait, 0
		}
	}
	return fetched{}, t.withCopy(refuse(planner.CodeSnapshotUnreadable, last, "%s could not be fetched: %s. What came so far is kept, and the next try goes on from there",
		t.place.shown(), t.place.scrub(last.Error())))
}

func (t *transfer) ended(ctx context.Context) error {
	return refuse(planner.CodeSnapshotUnreadable, context.Cause(ctx), "fetching %s was ended (%v). What came so far is kept, and the next try goes on from there", t.place.shown(), context.Cause(ctx))
}

// withCopy says where an earlier copy lies. It is never used unasked: the server
// may have a newer one.
func (t *transfer) withCopy(err error) error {
	path, v, ok := t.store.body()
	var p *Problem
	if !ok || !errors.As(err, &p) || p.Code != planner.CodeSnapshotUnreadable {
		return err
	}
	return refuse(p.Code, err, "%s. A copy that was fetched at %s is %s: to use that, name it as the source", p.Detail, v.FetchedAt, path)
}

// try makes one request. n is how many bytes of the file it brought. An error
// that is a *Problem stays one at the next try; others may pass.
func (t *transfer) try(ctx context.Context) (got fetched, n int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(limits.stall, func() { cancel(fmt.Errorf("nothing came for %v", limits.stall)) })
	defer watch.Stop()
	req, err := t.request(ctx)
	if err != nil {
		return got, 0, err
	}
	begun, have := t.begun()
	path, cached, inCache := t.store.body()
	switch {
	case have > 0:
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		req.Header.Set("If-Range", begun.validator())
	case inCache && cached.ETag != "":
		req.Header.Set("If-None-Match", cached.ETag)
	case inCache && cached.Exact:
		req.Header.Set("If-Modified-Since", cached.LastModified)
	}
	// The bytes themselves, not packed for the way: lengths and ranges are theirs.
	// Where a server packs them all the same, that is told from the bytes.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := t.client.Do(req)
	if err != nil {
		return got, 0, t.failed(ctx, err)
	}
	defer resp.Body.Close()
	watch.Reset(limits.stall)
	if resp.StatusCode == http.StatusNotModified && inCache && have == 0 {
		return fetched{path: path, version: cached}, 0, nil
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && have > 0 {
		t.restart()
		return got, 0, errors.New("the server has fewer bytes than came before")
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return got, 0, t.status(resp)
	}
	v, from, err := t.accept(resp, begun, have)
	if err != nil {
		return got, 0, err
	}
	n, err = t.receive(ctx, resp.Body, v, from, func() { watch.Reset(limits.stall) })
	if err != nil {
		return got, n, err
	}
	v.FetchedAt = time.Now().UTC().Format(time.RFC3339)
	path, err = t.store.name(v)
	return fetched{path, v, true}, n, err
}

// begun is the version that an earlier try began with and how much of it is
// there; 0 where it can't be gone on with.
func (t *transfer) begun() (version, int64) {
	v, ok := t.store.read("begun.json")
	info, err := os.Stat(t.store.path("begun.part"))
	if !ok || err != nil || v.validator() == "" || v.Size >= 0 && info.Size() >= v.Size {
		return version{}, 0
	}
	return v, info.Size()
}

func (t *transfer) restart() {
	t.store.drop("begun.json")
	t.store.drop("begun.part")
}

// accept reads what a good answer is about, and from which byte on it brings the
// file.
func (t *transfer) accept(resp *http.Response, begun version, have int64) (version, int64, error) {
	if resp.StatusCode == http.StatusPartialContent {
		from, total, err := contentRange(resp.Header.Get("Content-Range"))
		switch {
		case have == 0:
			return version{}, 0, refuse(planner.CodeSnapshotUnreadable, nil, "%s: the server sends a part of it where the whole was asked for", t.place.shown())
		case err != nil || from != have || begun.Size >= 0 && total >= 0 && total != begun.Size || !begun.tied(resp.Header):
			t.restart()
			return version{}, 0, fmt.Errorf("the server answered a request for the bytes from %d on with others (Content-Range %q)", have, resp.Header.Get("Content-Range"))
		}
		return begun, have, nil
	}
	// All of it: the server knows no ranges, or has another version by now.
	v := versionOf(resp, resp.ContentLength)
	t.restart()
	return v, 0, t.store.write("begun.json", v)
}

// receive appends to the half file what comes, until all is there.
func (t *transfer) receive(ctx context.Context, body io.Reader, v version, from int64, alive func()) (n int64, err error) {
	f, err := os.OpenFile(t.store.path("begun.part"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := room(f, max(v.Size-from, 0), elsewhere); err != nil {
		f.Close()
		t.restart()
		return 0, err
	}
	told := func(done int64) {
		alive()
		t.o.tell("fetching "+t.place.shown(), from+done, max(v.Size, 0))
	}
	told(0)
	in := &stream{r: body, alive: told}
	n, err = io.CopyBuffer(&roomWriter{f: f, since: checkEvery, instead: elsewhere}, in, make([]byte, 256<<10))
	var p *Problem
	switch {
	case errors.As(err, &p): // no room: what is there would only take more of it
		f.Close()
		t.restart()
		return n, err
	case err != nil:
		if v.validator() == "" {
			t.restart()
		}
		return n, t.failed(ctx, fmt.Errorf("the connection broke off after %d%s bytes: %w", from+n, of(v.Size), err))
	case v.Size >= 0 && from+n != v.Size:
		return n, fmt.Errorf("the server ended after %d%s bytes", from+n, of(v.Size))
	}
	return n, f.Sync()
}

func of(size int64) string {
	if size < 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", size)
}

// stream tells of each piece that comes.
type stream struct {
	r     io.Reader
	n     int64
	alive func(done int64)
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if s.n += int64(n); n > 0 {
		s.alive(s.n)
	}
	return n, err
}
