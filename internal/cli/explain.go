package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/edgegw/edge/internal/control"
)

// ExplainConfig is what edge explain takes; the fields are its argument and
// flags.
type ExplainConfig struct {
	Connection
	// URL is absolute, as the visitor sees it.
	URL string
	// Method of the request. Default: GET.
	Method string
	// Header holds fields of the request, each as "Name: value".
	Header []string
	// JSON prints the gateway's answer as it is.
	JSON bool
	// Ask answers instead of a gateway. Nil: a gateway is asked.
	Ask func(control.ExplainQuery) (any, error)
}

// Explain prints what the gateway would do with a request, and why: verdict,
// key, stored entry, freshness, tags, version, and which replica it would pick.
func Explain(ctx context.Context, c ExplainConfig, stdout, stderr io.Writer) int {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		(&console{w: stderr}).complain("explain", fmt.Errorf("url %q: want an absolute URL such as https://www.example.com/path", c.URL))
		return ExitUsage
	}
	query := url.Values{"url": {c.URL}}
	if c.Method != "" {
		query.Set("method", c.Method)
	}
	if len(c.Header) > 0 {
		query["header"] = c.Header
	}
	if c.Ask != nil {
		return answerAlone(c, query, stdout, stderr)
	}
	return inspect(ctx, inspection{
		command: "explain", connection: c.Connection, json: c.JSON,
		request: request{method: http.MethodGet, path: "explain", query: query},
		print:   printExplanation,
	}, stdout, stderr)
}

// answerAlone prints what c.Ask says as if a gateway had.
func answerAlone(c ExplainConfig, query url.Values, stdout, stderr io.Writer) int {
	errs := &console{w: stderr}
	q, mistakes := control.ParseExplain(query)
	for _, m := range mistakes {
		errs.complain("explain", fmt.Errorf("%s %s: want %s", m.Field, m.Value, m.Want))
	}
	if len(mistakes) > 0 {
		return ExitUsage
	}
	explanation, err := c.Ask(q)
	if err != nil {
		errs.complain("explain", err)
		return ExitUsage
	}
	answer, err := json.Marshal(explanation)
	if err == nil && c.JSON {
		err = printJSON(stdout, answer)
	} else if err == nil {
		err = printExplanation(stdout, answer)
	}
	if err != nil {
		errs.complain("explain", err)
		return ExitUsage
	}
	return ExitDone
}

// printExplanation prints all that the gateway says, and the pool as edge status
// does.
func printExplanation(w io.Writer, answer json.RawMessage) error {
	var tail struct {
		Pick  *pickView  `json:"pick"`
		Pools []poolView `json:"pools"`
	}
	if err := json.Unmarshal(answer, &tail); err != nil {
		return err
	}
	out := &console{w: w}
	if err := outline(out, answer, 0, "pick", "pools"); err != nil {
		return err
	}
	for _, pool := range tail.Pools {
		printPool(out, pool)
	}
	if p := tail.Pick; p != nil {
		out.say("")
		out.say("a request that goes to a replica: %s (%s)", or(p.Address, "to none now"), p.Why)
	}
	return nil
}

type pickView struct {
	Address string `json:"address"`
	Why     string `json:"why"`
}
