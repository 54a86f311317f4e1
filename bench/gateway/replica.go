package gateway

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

// Replica starts a process of the sample application, in a new folder of its
// name in dir, and returns when it listens. The binary is edge.
func Replica(ctx context.Context, binary, dir, name string, args ...string) (p *process.Process, address string, err error) {
	return Listening(ctx, dir, process.Command{
		Name: name, Path: binary, Args: append([]string{"sample", "--listen", "127.0.0.1:0", "--instance", name}, args...),
		Grace: 20 * time.Second,
	})
}

// Listening starts a process, in a new folder of its name in dir, and returns
// when it has written the address that it listens on, as the first line of its
// output.
func Listening(ctx context.Context, dir string, c process.Command) (p *process.Process, address string, err error) {
	c.Dir = filepath.Join(dir, c.Name)
	c.Env, c.CPU = peers.Environment(c.Dir), process.AnyCPU
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return nil, "", err
	}
	if p, err = process.Start(c); err != nil {
		return nil, "", err
	}
	err = Ready(ctx, p.Exited(), func(context.Context) error {
		out, err := p.Output()
		if err != nil {
			return err
		}
		line, _, whole := bytes.Cut(out, []byte("\n"))
		if !whole {
			return errors.New("it does not listen")
		}
		address = string(line)
		return nil
	})
	if err != nil {
		return nil, "", errors.Join(err, p.Stop())
	}
	return p, address, nil
}
