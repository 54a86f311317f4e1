package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const defaultRegion = "us-east-1"

// bucket is a Store in S3, or in one that speaks it.
type bucket struct {
	client       *minio.Client
	name, prefix string
	endpoint     string
}

func openS3(t Target) (*bucket, error) {
	name, prefix, _ := t.place()
	region := cmp.Or(t.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), defaultRegion)
	endpoint := cmp.Or(t.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), "https://s3."+region+".amazonaws.com")
	at, err := url.Parse(endpoint)
	if err != nil || at.Host == "" {
		return nil, fmt.Errorf("endpoint %q: want a URL such as https://s3.example.com", endpoint)
	}
	options := &minio.Options{
		Creds:  credentials.NewStaticV4(t.AccessKey, t.SecretKey, ""),
		Secure: at.Scheme == "https", Region: region,
		// Failures are tried again by whoever makes backups, which can be seen.
		MaxRetries: 1,
	}
	if t.AccessKey == "" {
		options.Creds = credentials.NewEnvAWS()
	}
	if t.PathStyle {
		options.BucketLookup = minio.BucketLookupPath
	}
	client, err := minio.New(at.Host, options)
	if err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	client.SetAppInfo("edge-backup", "1")
	return &bucket{client, name, prefix, endpoint}, nil
}

func (b *bucket) String() string {
	return strings.TrimSuffix(scheme+b.name+"/"+b.prefix, "/") + " at " + b.endpoint
}

// Put writes in one call, so that the object appears when all of it has come, and as
// it was sent: the store compares a checksum.
func (b *bucket) Put(ctx context.Context, name string, data []byte) error {
	_, err := b.client.PutObject(ctx, b.name, b.prefix+name, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableMultipart: true, SendContentMd5: true,
	})
	return plain(err)
}

func (b *bucket) Get(ctx context.Context, name string) ([]byte, error) {
	object, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, plain(err)
	}
	defer object.Close()
	data, err := readAll(object)
	return data, plain(err)
}

func (b *bucket) List(ctx context.Context) ([]Object, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // ends the listing after an error
	var objects []Object
	for o := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + namePrefix}) {
		if o.Err != nil {
			return nil, plain(o.Err)
		}
		name := strings.TrimPrefix(o.Key, b.prefix)
		if !strings.Contains(name, "/") {
			objects = append(objects, Object{name, o.Size, o.LastModified})
		}
	}
	return objects, nil
}

func (b *bucket) Delete(ctx context.Context, name string) error {
	return plain(b.client.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{}))
}

// plain is a store's refusal in words that can be acted on.
func plain(err error) error {
	if err == nil {
		return nil
	}
	var refused minio.ErrorResponse
	if !errors.As(err, &refused) || refused.Code == "" {
		return err
	}
	what := fmt.Sprintf("%s: %s", refused.Code, refused.Message)
	switch {
	case refused.Code == "NoSuchBucket":
		return fmt.Errorf("%s: want a bucket that is there: edge makes none", what)
	case refused.Code == "NoSuchKey":
		return fmt.Errorf("%s: %w", what, fs.ErrNotExist)
	case refused.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s: want keys that may list, read, write and delete there", what)
	}
	return errors.New(what)
}
