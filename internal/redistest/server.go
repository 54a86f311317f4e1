// Package redistest runs a real redis-server for tests and for the bench, and
// ways to it that can be cut. Nothing else may import it.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// patience is how long a busy machine may take to start a redis-server.
const patience = time.Minute

// Server is a redis-server on a socket in a folder of its own. Its methods are
// for one goroutine.
type Server struct {
	// Socket is where it listens, Dir the folder with it.
	Socket, Dir string

	password  string
	arguments []string
	process   *exec.Cmd
}

// TB is the part of a test that New needs.
type TB interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}

// New runs a server until the test ends, as Run does.
func New(t TB, arguments ...string) *Server {
	t.Helper()
	s, err := Run(arguments...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Run runs a server, which whoever runs it closes. More arguments are
// redis-server's, such as --requirepass, which Say is told of. It keeps nothing on
// disk, unless they say so.
func Run(arguments ...string) (*Server, error) {
	dir, err := os.MkdirTemp("", "redis") // a test's own folder may be too long for a socket
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, Socket: filepath.Join(dir, "s"), arguments: arguments}
	for i, argument := range arguments {
		if argument == "--requirepass" && i+1 < len(arguments) {
			s.password = arguments[i+1]
		}
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// Close ends the server, and removes its folder.
func (s *Server) Close() {
	s.Kill()
	_ = os.RemoveAll(s.Dir) // in the system's temporary folder
}

// Start starts a server that was killed, and waits until it answers.
func (s *Server) Start() error {
	arguments := append([]string{"--port", "0", "--unixsocket", s.Socket, "--save", "", "--dir", s.Dir}, s.arguments...)
	s.process = exec.Command("redis-server", arguments...)
	s.process.SysProcAttr = withParent()
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("%w: make test installs redis-server", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.Say("PING") != "PONG" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Kill()
			return errors.New("redis-server did not answer within a minute")
		}
	}
	return nil
}

// Kill ends the server at once, in whatever state it is.
func (s *Server) Kill() {
	_ = s.process.Process.Kill() // it may have ended
	_ = s.process.Wait()
}

// PID is its process.
func (s *Server) PID() int { return s.process.Process.Pid }

// Signal sends it a signal, such as SIGSTOP.
func (s *Server) Signal(sig os.Signal) error { return s.process.Process.Signal(sig) }

// Say is what redis-cli prints for a command, errors too.
func (s *Server) Say(arguments ...string) string {
	c := exec.Command("redis-cli", append([]string{"-s", s.Socket}, arguments...)...)
	c.Env = os.Environ()
	if s.password != "" {
		c.Env = append(c.Env, "REDISCLI_AUTH="+s.password)
	}
	out, _ := c.CombinedOutput() // the output has the error
	return strings.TrimSpace(string(out))
}
