package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/pprof/profile"

	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/workloads"
)

// adminSocket is where a peer that is profiled has Caddy's admin endpoint, in its
// folder.
const adminSocket = "admin.sock"

// profiled takes a sample as visit does, and what the peer's CPU did meanwhile.
func (s *stand) profiled(ctx context.Context, w workloads.Workload, r *row) (measure.Sample, error) {
	if s.plan.profile == "" {
		return s.visit(ctx, w, r)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		p   *profile.Profile
		err error
	}
	done := make(chan result, 1)
	go func() {
		p, err := cpuProfile(ctx, filepath.Join(s.dir(r), adminSocket), s.plan.seconds)
		done <- result{p, err}
	}()
	sample, err := s.visit(ctx, w, r)
	if err != nil {
		cancel()
		<-done
		return nil, err
	}
	got := <-done
	s.profiles = append(s.profiles, got.p)
	return sample, got.err
}

// cpuProfile asks Caddy's admin endpoint.
func cpuProfile(ctx context.Context, socket string, seconds int) (p *profile.Profile, err error) {
	caller := &http.Client{Timeout: time.Duration(seconds)*time.Second + time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1/debug/pprof/profile?seconds=%d", seconds), nil)
	if err != nil {
		return nil, err
	}
	answer, err := caller.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("profile: status %d, %.200s", answer.StatusCode, text)
	}
	return profile.ParseData(text)
}

// writeProfile writes all profiles as one, for the compiler. Each row counts alike,
// whatever its share of the time: what is rare in it is rarely run.
func (s *stand) writeProfile() error {
	if s.plan.profile == "" {
		return nil
	}
	if slices.Contains(s.profiles, nil) || len(s.profiles) == 0 {
		return errors.New("-profile: want a profile of each sample")
	}
	merged, err := profile.Merge(s.profiles)
	if err != nil {
		return err
	}
	// What the compiler does not read, and what names this machine.
	merged.TimeNanos, merged.Comments = 0, nil
	for _, sample := range merged.Sample {
		sample.Label, sample.NumLabel = nil, nil
	}
	for _, m := range merged.Mapping {
		m.File, m.BuildID = "edge", ""
	}
	var b bytes.Buffer
	if err := merged.Write(&b); err != nil {
		return err
	}
	return os.WriteFile(s.plan.profile, b.Bytes(), 0o644)
}
