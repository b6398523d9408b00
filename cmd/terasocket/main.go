// Terasocket serves the websockets of an OpenTera installation, driven by PostgreSQL.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Set by the linker (-ldflags "-X main.version=..."): git version, commit, and commit date.
var (
	version = "dev"
	commit  = ""
	date    = "" // RFC 3339, UTC
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
