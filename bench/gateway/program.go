package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

// Program is a gateway, and the configuration that it is started with.
type Program struct {
	Name   string
	Binary string
	Dir    string // its own, which must exist
	File   string // of the configuration, in Dir
	Text   string // of the configuration
	Args   []string
	Env    []string // beside peers.Environment
	Pinned bool     // to the first processor that may be used; else on any
}

// Run starts the program, has work done with it, and ends it.
// An error of the work comes with the last of what the program said.
func (p Program) Run(work func(*process.Process) error) (err error) {
	if err := os.WriteFile(filepath.Join(p.Dir, p.File), []byte(p.Text), 0o600); err != nil {
		return err
	}
	cpu := process.AnyCPU
	if p.Pinned {
		allowed, err := process.Allowed()
		if err != nil {
			return err
		}
		cpu = allowed[0]
	}
	server, err := process.Start(process.Command{
		Name: p.Name, Path: p.Binary, Args: p.Args, Env: peers.Environment(p.Dir, p.Env...), Dir: p.Dir, CPU: cpu,
		Grace: 30 * time.Second,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	if err := work(server); err != nil {
		said, _ := server.Output() // What cannot be read is not told.
		return fmt.Errorf("%s: %w\n%s", p.Name, err, said[max(0, len(said)-1000):])
	}
	return nil
}
