package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestASiteOffersNoHandover(t *testing.T) {
	s := newSite(t, newGateway())
	var stdout, stderr bytes.Buffer
	c := HandoverConfig{Connection: s.connection(), Binary: "/usr/bin/edge", Wait: time.Minute}
	if code := Handover(t.Context(), c, &stdout, &stderr); code != ExitUnreachable {
		t.Errorf("exit %d, want %d", code, ExitUnreachable)
	}
	if said := stderr.String(); !strings.Contains(said, "want the admin endpoint in --server, such as "+DefaultServer) {
		t.Errorf("%q does not say where it is offered", said)
	}
}
