package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

// stand is the replicas, and all that gateways are made of.
type stand struct {
	dir      string
	binaries map[string]string // by program
	versions map[string]string
	replicas []*replica
	client   *http.Client // for whoever runs the bench
}

// replica is one process of this very command.
type replica struct {
	name    string
	address string
	process *process.Process
}

func newStand(ctx context.Context, dir string) (*stand, error) {
	binaries, versions, err := peers.BuildAll(ctx, dir, "edge", "caddy", "nginx", "haproxy")
	if err != nil {
		return nil, err
	}
	return &stand{
		dir: dir, binaries: binaries, versions: versions,
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}, nil
}

// start starts a replica. Its name is its place, from 1, if it has one.
func (s *stand) start(ctx context.Context, name string, args ...string) (*replica, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.dir, "replica-")
	if err != nil {
		return nil, err
	}
	r := &replica{name: name}
	r.process, r.address, err = gateway.Listening(ctx, dir, process.Command{
		Name: name, Path: self, Args: append([]string{"replica", "-name", name}, args...),
	})
	return r, err
}

// staff has n replicas running, all with these manners.
func (s *stand) staff(ctx context.Context, n int, m manners) error {
	for i := range s.replicas {
		select {
		case <-s.replicas[i].process.Exited():
			r, err := s.start(ctx, s.replicas[i].name)
			if err != nil {
				return err
			}
			s.replicas[i] = r
		default:
		}
	}
	for len(s.replicas) < n {
		r, err := s.start(ctx, fmt.Sprint("r", len(s.replicas)+1))
		if err != nil {
			return err
		}
		s.replicas = append(s.replicas, r)
	}
	return s.tell(ctx, m, s.replicas...)
}

// tell tells replicas how to behave, and begins their counts anew.
func (s *stand) tell(ctx context.Context, m manners, to ...*replica) error {
	if m.Slowness == 0 {
		m.Slowness = 1
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	for _, r := range to {
		if err := s.post(ctx, r, "manners", body, nil); err != nil {
			return err
		}
	}
	_, err = s.seen(ctx, to...)
	return err
}

// seen returns what replicas have counted since they were asked or told last.
func (s *stand) seen(ctx context.Context, of ...*replica) ([]counts, error) {
	all := make([]counts, len(of))
	for i, r := range of {
		if err := s.post(ctx, r, "counts", nil, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *stand) post(ctx context.Context, r *replica, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.address+"/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("replica %s: %s: %s", r.name, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

func (s *stand) close() error {
	var errs []error
	for _, r := range s.replicas {
		select {
		case <-r.process.Exited():
		default:
			errs = append(errs, r.process.Stop())
		}
	}
	return errors.Join(errs...)
}

// addresses of replicas.
func addresses(of []*replica) (all []string) {
	for _, r := range of {
		all = append(all, r.address)
	}
	return all
}

// serve runs a gateway in front of all replicas, has work done with it, and ends
// it. The url is that of work at the replicas.
func (s *stand) serve(ctx context.Context, c contestant, w wish, work func(url string) error) error {
	dir, err := os.MkdirTemp(s.dir, c.program+"-")
	if err != nil {
		return err
	}
	free, err := gateway.Addresses(1)
	if err != nil {
		return err
	}
	if w.replicas == nil {
		w.replicas = addresses(s.replicas)
	}
	w.listen, w.dir, w.root = free[0], dir, os.Geteuid() == 0
	settings := c.configure(w)
	return gateway.Program{
		Name: c.name, Binary: s.binaries[c.program], Dir: dir, File: settings.file, Text: settings.text, Args: settings.args,
	}.Run(func(server *process.Process) error {
		url := "http://" + w.listen + "/work"
		if err := s.ready(ctx, server, url); err != nil {
			return err
		}
		log.Printf("  %s", c.name)
		return work(url)
	})
}

// ready waits until the gateway answers, and a second more, in which it checks
// every replica.
func (s *stand) ready(ctx context.Context, server *process.Process, url string) error {
	err := gateway.Ready(ctx, server.Exited(), func(ctx context.Context) error {
		a := ask(ctx, s.client, load{url: url})
		if !a.good() {
			return fmt.Errorf("status %d: %w", a.status, a.err)
		}
		return nil
	})
	if err == nil && !gateway.Pause(ctx, 1200*time.Millisecond) {
		err = ctx.Err()
	}
	return err
}
