// Package standin is a store that speaks S3, in memory, for tests and trials. It is
// rclone's gofakes3, which checks signatures (SigV4), clocks and Content-MD5, knows no
// bucket that was not made, and lists in pages. Besides, it compares bodies with the
// checksum that was signed, and fails when it is told to.
package standin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

// Store is an http.Handler.
type Store struct {
	objects *s3mem.Backend
	bucket  string
	api     http.Handler

	mu    sync.Mutex
	fault func(*http.Request) Fault
	calls []string
}

// Fault is how a call goes wrong.
type Fault int

// Faults.
const (
	None     Fault = iota
	SlowDown       // 503, as S3 says when it is asked too often
	CutOff         // half of the answer
	Lost           // the object is stored, and the answer lost
	Flipped        // one byte of the answer is another one
)

// New makes a store with one bucket, for whoever has the keys.
func New(bucket, accessKey, secretKey string) (*Store, error) {
	s := &Store{objects: s3mem.New(), bucket: bucket, fault: func(*http.Request) Fault { return None }}
	if err := s.objects.CreateBucket(context.Background(), bucket); err != nil {
		return nil, err
	}
	s.api = gofakes3.New(s.objects, gofakes3.WithV4Auth(map[string]string{accessKey: secretKey}), gofakes3.WithoutVersioning()).Server()
	return s, nil
}

// FailBy has each call judged first.
func (s *Store) FailBy(fault func(*http.Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Calls lists what was called, as METHOD PATH.
func (s *Store) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.calls...)
}

// ServeHTTP implements http.Handler.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	fault := s.fault(r)
	s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // half a request is none
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	signed := r.Header.Get("X-Amz-Content-Sha256")
	if sum := sha256.Sum256(body); len(signed) == 2*len(sum) && signed != hex.EncodeToString(sum[:]) {
		refuse(w, http.StatusBadRequest, "XAmzContentSHA256Mismatch")
		return
	}
	switch fault {
	case None:
		s.api.ServeHTTP(w, r)
	case SlowDown:
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
	default:
		s.spoil(w, r, fault)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, strings.ToLower(code))
}

// spoil answers, and not as it should.
func (s *Store) spoil(w http.ResponseWriter, r *http.Request, fault Fault) {
	kept := &answer{header: make(http.Header), status: http.StatusOK}
	s.api.ServeHTTP(kept, r)
	if fault == Lost {
		panic(http.ErrAbortHandler)
	}
	for name, values := range kept.header {
		w.Header()[name] = values
	}
	body := kept.body.Bytes()
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(kept.status)
	if fault == CutOff {
		_, _ = w.Write(body[:len(body)/2]) // whoever reads it is told next
		panic(http.ErrAbortHandler)
	}
	if len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	_, _ = w.Write(body) // as for any answer, a client that is gone is gone
}

type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
