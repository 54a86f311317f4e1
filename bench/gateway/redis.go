package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

// Redis is a real one that remembers nothing, on a socket of its own.
type Redis struct {
	// Binary is redis-server's.
	Binary string
	// Dir is a folder of its own, which Start makes.
	Dir string

	server *process.Process
}

// Socket is the path of its socket.
func (r *Redis) Socket() string { return r.Dir + ".sock" }

// Start runs it, again if it has been killed, and returns when it answers.
func (r *Redis) Start(ctx context.Context) (err error) {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	r.server, err = process.Start(process.Command{
		Name: filepath.Base(r.Dir), Path: r.Binary, Dir: r.Dir, CPU: process.AnyCPU, Env: peers.Environment(r.Dir),
		Args: []string{"--port", "0", "--unixsocket", r.Socket(), "--save", "", "--appendonly", "no"},
	})
	if err != nil {
		return err
	}
	return Ready(ctx, r.server.Exited(), func(context.Context) error {
		c, err := net.Dial("unix", r.Socket())
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// Outage kills it, and starts it again after a while, empty.
func (r *Redis) Outage(ctx context.Context, d time.Duration) error {
	r.server.Kill()
	Pause(ctx, d)
	return r.Start(ctx)
}

// Freeze stops its process for a while.
func (r *Redis) Freeze(ctx context.Context, d time.Duration) error {
	return Freeze(ctx, r.server, d)
}

// Freeze stops a process for a while.
func Freeze(ctx context.Context, p *process.Process, d time.Duration) error {
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		return err
	}
	Pause(ctx, d)
	return syscall.Kill(p.PID(), syscall.SIGCONT)
}

// Flush empties it, in Redis' own words.
func (r *Redis) Flush() error {
	c, err := net.Dial("unix", r.Socket())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("FLUSHALL\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 5)
	if _, err := c.Read(answer); err != nil || string(answer) != "+OK\r\n" {
		return fmt.Errorf("answered %q: %w", answer, err)
	}
	return nil
}

// Stop ends it, if it was started.
func (r *Redis) Stop() error {
	if r == nil || r.server == nil {
		return nil
	}
	return r.server.Stop()
}
