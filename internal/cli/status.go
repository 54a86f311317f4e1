package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/purge"
)

// StatusConfig is what edge status takes; the fields are its flags.
type StatusConfig struct {
	Connection
	// JSON prints the gateway's answer as it is.
	JSON bool
	// Watch prints it again and again, so far apart, until ctx ends. 0: once.
	Watch time.Duration
	// Clear begins each time at the top of an empty screen.
	Clear bool
}

// leastWatch is as often as a gateway is asked.
const leastWatch = 100 * time.Millisecond

// Status prints pools, replicas, cache, purges and dependencies. The exit code
// is 0 when there was an answer, whatever it says.
func Status(ctx context.Context, c StatusConfig, stdout, stderr io.Writer) int {
	i := inspection{
		command: "status", connection: c.Connection, json: c.JSON,
		request: request{method: http.MethodGet, path: "status"},
		print:   printStatus,
	}
	if c.Watch == 0 {
		return inspect(ctx, i, stdout, stderr)
	}
	if c.Watch < leastWatch {
		(&console{w: stderr}).complain("status", fmt.Errorf("--watch %s: want %s or more", c.Watch, leastWatch))
		return ExitUsage
	}
	return watch(ctx, i, c, stdout, stderr)
}

// watch shows the status until ctx ends, which is how it is meant to end. A
// gateway that does not answer may do so again.
func watch(ctx context.Context, i inspection, c StatusConfig, stdout, stderr io.Writer) int {
	tick := time.NewTicker(c.Watch)
	defer tick.Stop()
	for {
		var screen, complaint bytes.Buffer
		code := inspect(ctx, i, &screen, &complaint)
		if ctx.Err() != nil {
			return ExitDone
		}
		if code == ExitUsage {
			_, _ = stderr.Write(complaint.Bytes()) // there is nobody else to tell
			return code
		}
		top := ""
		if c.Clear {
			top = "\x1b[H\x1b[2J"
		}
		// In one piece, so that a terminal does not flicker.
		if _, err := io.WriteString(stdout, top+screen.String()+complaint.String()); err != nil {
			return ExitDone // nobody reads any more
		}
		select {
		case <-ctx.Done():
			return ExitDone
		case <-tick.C:
		}
	}
}

// inspection is a command that asks one question and prints the answer.
type inspection struct {
	command    string
	connection Connection
	json       bool
	request    request
	print      func(io.Writer, json.RawMessage) error
}

func inspect(ctx context.Context, i inspection, stdout, stderr io.Writer) int {
	errs := &console{w: stderr}
	client, err := NewClient(i.connection)
	if err != nil {
		errs.complain(i.command, err)
		return ExitUsage
	}
	var answer json.RawMessage
	if err := client.call(ctx, i.request, &answer); err != nil {
		code := exitOf(err)
		if code == ExitInterrupted {
			err = fmt.Errorf("interrupted")
		}
		errs.complain(i.command, err)
		return code
	}
	show := i.print
	if i.json {
		show = func(w io.Writer, answer json.RawMessage) error { return printJSON(w, answer) }
	}
	if err := show(stdout, answer); err != nil {
		errs.complain(i.command, fmt.Errorf("%s answered JSON of another kind: %w", client.Server, err))
		return ExitUnreachable
	}
	return ExitDone
}

// statusView is control.Status with what a table shows of the engines' parts.
type statusView struct {
	control.Status
	Pools []poolView      `json:"pools"`
	Fleet *fleetView      `json:"fleet"`
	Cache json.RawMessage `json:"cache"`
}

type poolView struct {
	Name     string        `json:"name"`
	Policy   string        `json:"policy"`
	Panic    bool          `json:"panic"`
	InFlight int           `json:"in_flight"`
	Queued   int           `json:"queued"`
	Scaling  scalingView   `json:"autoscale"`
	Sources  []sourceView  `json:"sources"`
	Replicas []replicaView `json:"replicas"`
}

type sourceView struct {
	Source  string `json:"source"`
	Problem string `json:"problem"`
}

type replicaView struct {
	ID           string    `json:"id"`
	Address      string    `json:"address"`
	Instance     string    `json:"instance"`
	Version      string    `json:"version"`
	State        string    `json:"state"`
	Why          string    `json:"why"`
	Since        time.Time `json:"since"`
	InFlight     int       `json:"in_flight"`
	EWMA         float64   `json:"ewma_ms"`
	Breaker      string    `json:"breaker"`
	Ejections    int       `json:"ejections"`
	EjectedFor   string    `json:"ejected_for"`
	EjectedUntil time.Time `json:"ejected_until"`
}

// state is what to look at first: an ejected replica takes nothing, though its
// checks pass.
func (r replicaView) state() string {
	if r.EjectedUntil.IsZero() {
		return r.State
	}
	return r.State + ", ejected"
}

func (r replicaView) why() string {
	if r.EjectedUntil.IsZero() {
		return r.Why
	}
	return "until " + stamp(r.EjectedUntil) + ": " + r.EjectedFor
}

// latency is empty until an answer has been timed.
func (r replicaView) latency() string {
	if r.EWMA == 0 {
		return ""
	}
	return fmt.Sprintf("%.1fms", r.EWMA)
}

func printStatus(w io.Writer, answer json.RawMessage) error {
	var s statusView
	if err := json.Unmarshal(answer, &s); err != nil {
		return err
	}
	if s.Schema == 0 {
		return fmt.Errorf("no schema: want a status")
	}
	out := &console{w: w}
	version := or(s.Version, "of no version")
	if s.Caddy != "" {
		version += " (Caddy " + s.Caddy + ")"
	}
	head := fmt.Sprintf("edge %s on %s, up %s, generation %d", version, or(s.Node, "a node without name"), s.Uptime, s.Generation)
	if !s.ConfigLoaded.IsZero() {
		head += ", configured " + stamp(s.ConfigLoaded)
	}
	out.say("%s", head)
	for _, pool := range s.Pools {
		printPool(out, pool)
	}
	printFleet(out, s.Fleet)
	if err := printCache(out, s.Cache); err != nil {
		return err
	}
	printVersions(out, s.Deploys.Pools, s.Deploys.Last)
	printPurges(out, s.Purges)
	printDependencies(out, s.Dependencies)
	return nil
}

func printPool(out *console, pool poolView) {
	head := fmt.Sprintf("pool %s: %s, %d in flight, %d queued", pool.Name, or(pool.Policy, "no policy"), pool.InFlight, pool.Queued)
	if pool.Panic {
		head += ", PANIC: most look sick, all are tried"
	}
	out.say("")
	out.say("%s", head)
	printScaling(out, pool.Scaling)
	for _, source := range pool.Sources {
		if source.Problem != "" {
			out.say("  %s: %s", source.Source, source.Problem)
		}
	}
	rows := [][]string{{"REPLICA", "INSTANCE", "VERSION", "STATE", "SINCE", "IN FLIGHT", "EWMA", "BREAKER", "EJECTIONS", "WHY"}}
	for _, r := range pool.Replicas {
		rows = append(rows, []string{
			or(r.Address, r.ID), r.Instance, r.Version, r.state(), stamp(r.Since), fmt.Sprint(r.InFlight), r.latency(), r.Breaker,
			fmt.Sprint(r.Ejections), r.why(),
		})
	}
	if len(pool.Replicas) == 0 {
		out.say("  no replicas")
		return
	}
	out.table(rows)
}

func printCache(out *console, cache json.RawMessage) error {
	if len(cache) == 0 || string(cache) == "null" {
		return nil
	}
	out.say("")
	out.say("cache")
	return outline(out, cache, 1)
}

func printPurges(out *console, purges control.PurgeStatus) {
	out.say("")
	out.say("purges: %d pending", purges.Pending)
	if len(purges.Last) == 0 {
		return
	}
	head := []string{"ID", "STATE", "EXIT", "GENERATION", "ITEMS", "CREATED", "WHY"}
	fleet := slices.ContainsFunc(purges.Last, func(r purge.Record) bool { return r.Node != "" })
	if fleet {
		head = append([]string{"NODE"}, head...)
	}
	rows := [][]string{head}
	for _, r := range purges.Last {
		exit := ""
		if r.State.Final() {
			exit = fmt.Sprint(r.Exit)
		}
		row := []string{r.ID, string(r.State), exit, fmt.Sprint(r.Generation), itemsText(r.Selectors), stamp(r.Created), r.Error}
		if fleet {
			row = append([]string{r.Node}, row...)
		}
		rows = append(rows, row)
	}
	out.table(rows)
}

func itemsText(s purge.Selectors) string {
	if s.Everything {
		return "everything"
	}
	return fmt.Sprint(s.Len())
}

func printDependencies(out *console, dependencies []control.Dependency) {
	if len(dependencies) == 0 {
		return
	}
	out.say("")
	out.say("dependencies")
	rows := [][]string{{"NAME", "STATE", "LATENCY", "SINCE", "DETAIL"}}
	for _, d := range dependencies {
		state, latency := "ok", ""
		if !d.OK {
			state = strings.TrimSpace("DOWN " + d.Severity)
		}
		if d.Latency > 0 {
			latency = d.Latency.String()
		}
		rows = append(rows, []string{d.Name, state, latency, stamp(d.Since), d.Detail})
	}
	out.table(rows)
}

// table prints rows in columns; the first row is their names. An empty cell
// shows as a hyphen, so that a row keeps its shape for those who cut columns.
func (c *console) table(rows [][]string) {
	aligned := tabwriter.NewWriter(c.w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = or(printable(cell), "-")
		}
		// There is no one to tell that the terminal is gone.
		_, _ = fmt.Fprintln(aligned, "  "+strings.Join(cells, "\t"))
	}
	_ = aligned.Flush()
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}
