package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/unit"
)

// HandoverConfig is what edge handover takes; the fields are its flags.
type HandoverConfig struct {
	Connection
	// Binary is the absolute path of the one that takes over. Default: that of
	// this process.
	Binary string
	// Wait is how long it may take to get ready.
	Wait time.Duration
	// JSON prints exactly one object, a HandoverReport, on stdout.
	JSON bool
}

// HandoverReport is what edge handover prints as JSON.
type HandoverReport struct {
	control.Handover
	Binary string `json:"binary"`
	// Exit is the command's exit code.
	Exit int `json:"exit"`
	// Error says why, unless Exit is 0.
	Error string `json:"error,omitempty"`
}

// Handover has a process of another binary take over from the gateway.
func Handover(ctx context.Context, c HandoverConfig, stdout, stderr io.Writer) int {
	report := HandoverReport{Binary: c.Binary}
	if err := report.run(ctx, c); err != nil {
		report.Exit, report.Error = exitOf(err), err.Error()
		(&console{w: stderr}).complain("handover", err)
	}
	if c.JSON {
		if err := printJSON(stdout, report); err != nil {
			(&console{w: stderr}).complain("handover", err)
			return ExitUnreachable
		}
		return report.Exit
	}
	if report.Exit == ExitDone {
		(&console{w: stdout}).say("process %d of %s has taken over from %d, in %s", report.PID, report.Binary, report.Before, report.Took)
	}
	return report.Exit
}

func (h *HandoverReport) run(ctx context.Context, c HandoverConfig) error {
	if h.Binary == "" {
		own, err := os.Executable()
		if err != nil {
			return &failure{exit: ExitUsage, text: fmt.Sprintf("path of this binary: %v: want --binary", err)}
		}
		h.Binary = own
	}
	if c.Wait <= 0 || c.Wait > control.MaxHandover {
		return &failure{exit: ExitUsage, text: fmt.Sprintf("--wait %s: want a duration up to %s", c.Wait, control.MaxHandover)}
	}
	client, err := NewClient(c.Connection)
	if err != nil {
		return &failure{exit: ExitUsage, text: err.Error()}
	}
	order := control.HandoverOrder{Binary: h.Binary, Patience: unit.Duration(c.Wait)}
	err = client.call(ctx, request{method: http.MethodPost, path: "handover", body: order, wait: c.Wait}, &h.Handover)
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	switch f.code {
	case control.CodeHandover:
		f.exit = ExitGate
	case control.CodeRoute:
		f.text = fmt.Sprintf("%s offers no handover, sites do not: want the admin endpoint in --server, such as %s", client.Server, DefaultServer)
	}
	return f
}
