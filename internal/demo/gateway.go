package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/edgegw/edge/internal/freeport"
)

const (
	// rising is how long the gateway may take to answer.
	rising = 30 * time.Second
	// endpoint is where the demo's Caddyfile mounts edge_control.
	endpoint = "/.edge"
)

// gateway is the edge process of the demo.
type gateway struct {
	base    string // of the site: http://host:port
	control *controller
	token   string // the file that holds the control token
	log     *os.File
	child   *child
}

// startGateway writes what the configuration refers to, runs edge, and returns
// when it answers.
func startGateway(ctx context.Context, c Config, w workplace, cloudflareAPI string) (*gateway, error) {
	listen, admin, err := addresses(c.Listen, c.Admin)
	if err != nil {
		return nil, err
	}
	text, err := caddyfileFor(gatewayConfig{
		Listen: listen, Admin: admin, StateDir: w.path("state"), AccessLog: w.path("access.log"),
		ControlToken: w.path("control-token"), CloudflareToken: w.path("cloudflare-token"),
		CloudflareAPI: cloudflareAPI, Drain: plan(c.Duration).drain,
	})
	if err != nil {
		return nil, err
	}
	if err := w.write("Caddyfile", text); err != nil {
		return nil, err
	}
	g := &gateway{base: "http://" + listen, token: w.path("control-token")}
	g.control = newController(g.base+endpoint, w.controlToken)
	if g.log, err = os.Create(w.path("gateway.log")); err != nil {
		return nil, err
	}
	command := exec.Command(c.Executable, "run", "--config", w.path("Caddyfile"), "--adapter", "caddyfile")
	command.Env = append(os.Environ(), "XDG_DATA_HOME="+w.path("data"), "XDG_CONFIG_HOME="+w.path("config"))
	command.Stdout, command.Stderr = g.log, g.log
	if g.child, err = spawn("gateway", command); err != nil {
		return nil, errors.Join(err, g.log.Close())
	}
	if err := g.rise(ctx); err != nil {
		return nil, errors.Join(err, g.end())
	}
	return g, nil
}

// rise waits until the gateway answers.
func (g *gateway) rise(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rising)
	defer cancel()
	err := await(ctx, asking, func(ctx context.Context) (bool, error) {
		if !g.child.alive() {
			return false, errors.Join(errors.New("it ended"), g.child.how())
		}
		return g.control.alive(ctx), nil
	})
	if err != nil {
		return fmt.Errorf("the gateway does not answer at %s: %w", g.control.server, errors.Join(err, errLogged(g.log)))
	}
	return nil
}

// end ends the process, if it still runs.
func (g *gateway) end() error {
	var err error
	if g.child.alive() {
		err = g.child.end(finishing)
	} else {
		err = fmt.Errorf("the gateway ended before the demo did: %w", errors.Join(g.child.how(), errLogged(g.log)))
	}
	return errors.Join(err, g.log.Close())
}

// addresses fills in free ports of the loopback interface for what is not given.
func addresses(listen, admin string) (string, string, error) {
	free, err := freeport.Addresses(2)
	if err != nil {
		return "", "", err
	}
	return cmp.Or(listen, free[0]), cmp.Or(admin, free[1]), nil
}

// workplace is the directory that holds everything the demo writes.
type workplace struct {
	dir             string
	controlToken    string
	cloudflareToken string
}

func (w workplace) path(name string) string { return filepath.Join(w.dir, name) }

// write creates a file for nobody else to read.
func (w workplace) write(name, text string) error {
	return os.WriteFile(w.path(name), []byte(text), 0o600)
}
