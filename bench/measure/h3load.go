package measure

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// H3load is a closed loop over HTTP/3: every connection has as many requests under
// way as it has streams.
type H3load struct {
	// Program is what ../h3load was built to.
	Program              string
	URL                  string
	Connections, Streams int
	// Seconds to run.
	Seconds int
	// CPU that the generator is pinned to.
	CPU int
}

// Run runs h3load to its end. Requests that failed are in the result; only a run
// without a result is an error.
func (h H3load) Run(ctx context.Context) (LoadResult, error) {
	lasts := time.Duration(h.Seconds) * time.Second
	ctx, cancel := context.WithTimeout(ctx, lasts+2*wrkTimeout)
	defer cancel()
	return generate(ctx, h.CPU, ParseH3load, h.URL, h.Program,
		"-connections", strconv.Itoa(h.Connections), "-streams", strconv.Itoa(h.Streams), "-lasts", lasts.String())
}

// ParseH3load reads what h3load prints.
func ParseH3load(out string) (LoadResult, error) {
	var r LoadResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return r, fmt.Errorf("want a result in JSON, got %q: %w", out, err)
	}
	return r, nil
}
