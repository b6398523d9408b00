// Terasocket gives an OpenTera installation its websockets, driven by PostgreSQL.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// What was built, set by the linker (-ldflags "-X main.version=..."): version and commit of git, and when that was made.
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
