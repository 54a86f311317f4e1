package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"

	"github.com/edgegw/edge/bench/measure"
)

// footprint is what the gateway's process holds when nobody asks it.
type footprint struct {
	files, goroutines int
	resident          int64
}

var total = regexp.MustCompile(`goroutine profile: total (\d+)`)

func (s *site) footprint(ctx context.Context) (footprint, error) {
	pid := s.pid()
	proc := measure.Procfs{FS: os.DirFS("/proc")}
	files, err := proc.Files(pid)
	if err != nil {
		return footprint{}, err
	}
	resident, err := proc.Resident(pid)
	if err != nil {
		return footprint{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+"/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return footprint{}, err
	}
	resp, err := s.client.Do(request)
	if err != nil {
		return footprint{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return footprint{}, err
	}
	match := total.FindSubmatch(text)
	if match == nil {
		return footprint{}, fmt.Errorf("goroutines: %.100q", text)
	}
	goroutines, err := strconv.Atoi(string(match[1]))
	return footprint{files: files, goroutines: goroutines, resident: resident}, err
}
