package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Store is where backups lie. An object is there whole or not at all. Errors hold
// no secrets.
type Store interface {
	Put(ctx context.Context, name string, data []byte) error
	// Get reads an object; the error is fs.ErrNotExist if there is none.
	Get(ctx context.Context, name string) ([]byte, error)
	List(ctx context.Context) ([]Object, error)
	Delete(ctx context.Context, name string) error
	// String names the store, for people.
	String() string
}

// Object is one thing in a store.
type Object struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Target says where backups lie. The fields below To are for s3 only.
type Target struct {
	// To is a folder, or s3://BUCKET/PREFIX.
	To string `json:"to,omitempty"`
	// Endpoint is the store's URL. Default: that of AWS in the region.
	Endpoint string `json:"endpoint,omitempty"`
	// Region is the bucket's. Default: us-east-1, or $AWS_REGION.
	Region string `json:"region,omitempty"`
	// AccessKey and SecretKey are those that the store knows. Default:
	// $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY.
	AccessKey string `json:"access_key,omitempty"`
	SecretKey string `json:"secret_key,omitempty"`
	// PathStyle puts the bucket into the path, as most stores other than AWS want
	// it. Default: as it fits the endpoint.
	PathStyle bool `json:"path_style,omitempty"`
}

const scheme = "s3://"

// place is where a target lies in S3.
func (t Target) place() (bucket, prefix string, isS3 bool) {
	rest, isS3 := strings.CutPrefix(t.To, scheme)
	bucket, prefix, _ = strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	return bucket, prefix, isS3
}

// Validate names every mistake.
func (t Target) Validate() error {
	var errs []error
	bucket, _, isS3 := t.place()
	switch {
	case t.To == "":
		return errors.New("to: missing: want a folder such as /var/backups/edge, or s3://BUCKET/PREFIX")
	case isS3 && (bucket == "" || strings.ContainsAny(bucket, " ?#@:%")):
		errs = append(errs, fmt.Errorf("to %q: want s3://BUCKET/PREFIX", t.To))
	case !isS3 && strings.Contains(t.To, "://"):
		errs = append(errs, fmt.Errorf("to %q: want a folder, or s3://BUCKET/PREFIX", t.To))
	case !isS3 && !filepath.IsAbs(t.To):
		errs = append(errs, fmt.Errorf("to %q: want a folder from the root on, such as /var/backups/edge", t.To))
	}
	if !isS3 && t != (Target{To: t.To}) {
		errs = append(errs, fmt.Errorf("to %q: endpoint, region, access_key, secret_key and path_style: want them for s3://… only", t.To))
	}
	if t.Endpoint != "" {
		u, err := url.Parse(t.Endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			errs = append(errs, fmt.Errorf("endpoint %q: want a URL such as https://s3.example.com, without a path", t.Endpoint))
		}
	}
	if (t.AccessKey == "") != (t.SecretKey == "") {
		errs = append(errs, errors.New("access_key and secret_key: want both, or neither"))
	}
	return errors.Join(errs...)
}

// Open finds the store. It asks nobody.
func (t Target) Open() (Store, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	if _, _, isS3 := t.place(); isS3 {
		return openS3(t)
	}
	return folder(t.To), nil
}

// folder is a Store on a file system.
type folder string

func (f folder) String() string { return string(f) }

func (f folder) Put(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(string(f), ".unfinished-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), filepath.Join(string(f), name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return f.sync()
}

func (f folder) sync() error {
	d, err := os.Open(string(f))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f folder) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(string(f), name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file)
}

// readAll reads no more than a backup may have.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, 2*MaxBytes+1))
	if err == nil && len(data) > 2*MaxBytes {
		err = fmt.Errorf("want %d MiB at most", 2*MaxBytes>>20)
	}
	return data, err
}

func (f folder) List(ctx context.Context) ([]Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var objects []Object
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasPrefix(e.Name(), namePrefix) {
			continue // removed meanwhile, or not ours
		}
		objects = append(objects, Object{e.Name(), info.Size(), info.ModTime()})
	}
	return objects, nil
}

func (f folder) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(string(f), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.sync()
}
