// Package command is what the commands of a benchmark have in common.
package command

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
)

// Main runs a command with its options. The first signal ends the run in order;
// after it a second one kills. An error ends the process.
func Main[O any](run func(context.Context, O) error, o O) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	err := run(ctx, o)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted, nothing written: %w", err)
	}
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// Write writes a page to a file; - is standard output.
func Write(file, text string) error {
	if file == "-" {
		_, err := os.Stdout.WriteString(text)
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// Scratch has work done in a folder that is removed afterwards.
func Scratch(name string, work func(dir string) error) (err error) {
	dir, err := os.MkdirTemp("", "edge-"+name+"-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return work(dir)
}
