package demo

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/edgegw/edge/internal/sample"
)

// TestMain lets the test binary stand for edge: the demo starts it as its
// replicas, and as the command that CI calls.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case "sample":
		os.Exit(runSample(os.Args[2:]))
	case "deploy":
		fmt.Print(os.Getenv("TEST_PURGE_SAYS"))
		var code int
		fmt.Sscan(os.Getenv("TEST_PURGE_EXIT"), &code)
		os.Exit(code)
	case "run":
		fmt.Fprintln(os.Stderr, "no such Caddyfile directive")
		os.Exit(1)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	}
	os.Exit(m.Run())
}

func runSample(args []string) int {
	c := sample.Config{Out: os.Stdout}
	flags := flag.NewFlagSet("sample", flag.ExitOnError)
	flags.StringVar(&c.Listen, "listen", "", "")
	flags.StringVar(&c.Version, "version", "", "")
	flags.StringVar(&c.Instance, "instance", "", "")
	flags.StringVar(&c.AssetsDir, "assets-dir", "", "")
	_ = flags.Parse(args) // exits on error
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := sample.Run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestReplicasShareASessionKey(t *testing.T) {
	if sessionKeyEnv != sample.SessionKeyEnv {
		t.Errorf("the demo sets %s, the sample reads %s", sessionKeyEnv, sample.SessionKeyEnv)
	}
}
