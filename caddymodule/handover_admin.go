package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/edgegw/edge/internal/control"
)

// handoverAdmin is POST /edge/handover of the admin endpoint. Sites do not have it:
// who may call it says what is run here.
func handoverAdmin(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		writeProblem(w, http.StatusMethodNotAllowed, control.CodeMethod, fmt.Errorf("%s: want POST", r.Method))
		return nil
	}
	var order control.HandoverOrder
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	body.DisallowUnknownFields()
	err := body.Decode(&order)
	if err == nil && (order.Patience < 0 || order.Patience.D() > control.MaxHandover) {
		err = fmt.Errorf("patience %s: want a duration up to %s", order.Patience, control.MaxHandover)
	}
	if err != nil {
		writeProblem(w, http.StatusBadRequest, control.CodeBody, err)
		return nil
	}
	began := time.Now()
	s, err := handOver(r.Context(), order.Binary, order.Patience.Or(control.DefaultHandover))
	if err != nil {
		writeProblem(w, http.StatusConflict, control.CodeHandover, err)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	// An answer that cannot be written changes nothing any more.
	_ = json.NewEncoder(w).Encode(control.Handover{Before: os.Getpid(), PID: s.child.PID, Took: time.Since(began).Round(time.Millisecond).String()})
	return endSelf()
}

// endSelf begins the end of this process, in good order. Caddy lets the call that
// brings it about have its answer.
func endSelf() error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	return self.Signal(syscall.SIGTERM)
}

// writeProblem answers as the control API does.
func writeProblem(w http.ResponseWriter, status int, code string, err error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(control.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: err.Error()})
}

// tryPatience is how long the new binary may take to say what it makes of the
// configuration.
const tryPatience = 30 * time.Second

// tryBinary refuses a binary that is none of edge's, or for which the configuration
// of this process is none.
func tryBinary(ctx context.Context, binary string) error {
	info, err := os.Stat(binary)
	switch {
	case !filepath.IsAbs(binary):
		return fmt.Errorf("binary %q: want an absolute path", binary)
	case err != nil:
		return fmt.Errorf("binary: %w", err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("binary %s: want a file that may be executed", binary)
	}
	if err := checkOwner(binary, info); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	if out, err := ask(ctx, binary, "version"); err != nil {
		return fmt.Errorf("%s version: %w%s", binary, err, out)
	}
	args := configurationArgs(os.Args[1:])
	if args == nil {
		return nil
	}
	if out, err := ask(ctx, binary, append([]string{"validate"}, args...)...); err != nil {
		return fmt.Errorf("%s validate: %w%s", binary, err, out)
	}
	return nil
}

// ask runs a command, and gives the last of what it says.
func ask(ctx context.Context, binary string, args ...string) (said string, err error) {
	command := exec.CommandContext(ctx, binary, args...)
	command.WaitDelay = time.Second
	out, err := command.CombinedOutput()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if said = string(bytes.Join(lines[max(0, len(lines)-3):], []byte("\n"))); said != "" {
		said = ": " + said
	}
	return said, err
}

// configurationArgs are those arguments of edge run that edge validate takes; nil
// when there are none, or the configuration is not from a file.
func configurationArgs(args []string) []string {
	if slices.Contains(args, "--resume") || slices.Contains(args, "-r") {
		return nil
	}
	var found []string
	for _, names := range [][]string{{"--config", "-c"}, {"--adapter", "-a"}, {"--envfile"}} {
		if value := flagOf(args, names...); value != "" && !strings.HasPrefix(value, "-") {
			found = append(found, names[0], value)
		}
	}
	return found
}
