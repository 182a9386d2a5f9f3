package harness

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 is a real S3 server on loopback, versitygw with its files in a folder of
// the test's.
type S3 struct {
	Endpoint       string // http://127.0.0.1:PORT
	Access, Secret string
	Bucket         string

	dir string // its files
}

var versitygw struct {
	sync.Once
	dir, bin string
	err      error
}

// versitygwBinary builds the pinned versitygw of .ci/tools, once for a test
// binary; Go's build cache keeps what takes long.
func versitygwBinary() (string, error) {
	versitygw.Do(func() {
		if versitygw.dir, versitygw.err = os.MkdirTemp("", "requorum-test-s3-"); versitygw.err != nil {
			return
		}
		bin := filepath.Join(versitygw.dir, "versitygw")
		cmd := exec.Command("go", "build", "-modfile=.ci/tools/go.mod", "-o", bin, "github.com/versity/versitygw/cmd/versitygw")
		cmd.Dir, cmd.Env = Root(), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			versitygw.err = fmt.Errorf("go build versitygw: %w\n%s", err, out)
			return
		}
		versitygw.bin = bin
	})
	return versitygw.bin, versitygw.err
}

// DropS3 removes the server's program when all tests have run; Main does it.
func DropS3() {
	if versitygw.dir != "" {
		os.RemoveAll(versitygw.dir) // made above
	}
}

// StartS3 starts an S3 server that ends with the test, with one empty bucket.
func StartS3(t testing.TB) *S3 {
	t.Helper()
	bin, err := versitygwBinary()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := ReservePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Release)
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Numbers[0])
	s := &S3{Endpoint: "http://" + addr, Access: "requorum-test", Secret: "not-so-secret-key", Bucket: "backups"}
	s.dir = t.TempDir()
	dir, log := s.dir, filepath.Join(t.TempDir(), "versitygw.log")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(bin, "--port", addr, "--quiet", "posix", dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+s.Access, "ROOT_SECRET_ACCESS_KEY="+s.Secret)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if err := s.begin(t.Context()); err != nil {
		said, _ := os.ReadFile(log)
		t.Fatalf("versitygw: %v\n%s", err, said)
	}
	return s
}

// begin waits until the server answers, and makes the bucket.
func (s *S3) begin(ctx context.Context) error {
	c, err := minio.New(s.Endpoint[len("http://"):], &minio.Options{Creds: credentials.NewStaticV4(s.Access, s.Secret, ""), MaxRetries: 1})
	if err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(s.Endpoint + "/")
		if err == nil {
			resp.Body.Close()
			return c.MakeBucket(ctx, s.Bucket, minio.MakeBucketOptions{})
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// Environ is what a client needs in its environment, "" as an endpoint for the
// server's own.
func (s *S3) Environ(endpoint string) map[string]string {
	if endpoint == "" {
		endpoint = s.Endpoint
	}
	return map[string]string{
		"AWS_ACCESS_KEY_ID": s.Access, "AWS_SECRET_ACCESS_KEY": s.Secret,
		"AWS_ENDPOINT_URL_S3": endpoint, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
	}
}

// URL is an object's, or a prefix's.
func (s *S3) URL(key string) string { return "s3://" + s.Bucket + "/" + key }

// AgeUploads makes the uploads that are not finished older.
func (s *S3) AgeUploads(t testing.TB, by time.Duration) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, s.Bucket, ".sgwtmp"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := time.Now().Add(-by)
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}
