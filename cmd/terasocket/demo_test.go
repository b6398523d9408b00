package main

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
)

// argument is one argument of a shell command line, quoted or not.
var argument = regexp.MustCompile(`'([^']*)'|\S+`)

// The demo shows its scenes, and each curl command that it prints logs in as printed, to a socket.
func TestDemo(t *testing.T) {
	t.Parallel()
	path, err := gatewaytest.Program() // without the race detector, under which passwords of twelve rounds take seconds
	if err != nil {
		t.Fatal(err)
	}
	demo := exec.CommandContext(t.Context(), path, "demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	demo.Cancel = func() error { return demo.Process.Signal(syscall.SIGTERM) }
	demo.WaitDelay = 20 * time.Second
	var problems strings.Builder
	demo.Stderr = &problems
	stdout, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var curls [][]string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		line := lines.Text()
		out.WriteString(line + "\n")
		if strings.HasPrefix(line, "  curl ") {
			var arguments []string
			for _, match := range argument.FindAllStringSubmatch(strings.TrimPrefix(line, "  curl "), -1) {
				if match[1] != "" {
					match[0] = match[1]
				}
				arguments = append(arguments, match[0])
			}
			curls = append(curls, arguments)
		}
		if strings.HasPrefix(line, "Ctrl-C") {
			break
		}
	}
	kinds := map[string]int{}
	for _, arguments := range curls {
		kinds[curl(t, arguments)]++
	}
	_ = demo.Process.Signal(syscall.SIGINT)
	if err := demo.Wait(); err != nil {
		t.Errorf("%v: %s", err, &problems)
	}
	for _, want := range []string{"DB_UPDATE participant", "DB_CREATE session", "DB_DELETE participant", "DB_UPDATE server_settings", " ms", " -\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demo does not show %q:\n%s%s", want, &out, &problems)
		}
	}
	if kinds["user"] != 1 || kinds["participant"] != 2 || kinds["device"] != 1 {
		t.Errorf("logins of %v:\n%s%s", kinds, &out, &problems)
	}
}

// A demo that ends at once prints nothing to try.
func TestDemoOnce(t *testing.T) {
	t.Parallel()
	got := command(t.Context(), nil, "demo", "--once", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--plain-http", "--encoding", "json")
	fitsATerminal(t, got.stdout)
	if got.code != 0 || !strings.Contains(got.stdout, "ws://127.0.0.1:") || !strings.Contains(got.stdout, "DB_UPDATE server_settings") || strings.Contains(got.stdout, "curl") {
		t.Errorf("%+v", got)
	}
}

// curl runs a printed curl command, opens a socket with its answer, and returns the kind of principal.
func curl(t *testing.T, arguments []string) (kind string) {
	t.Helper()
	var out []byte
	dbtest.Eventually(t, "a busy database answers", func() (isAnswer bool) {
		var err error
		if out, err = exec.CommandContext(t.Context(), "curl", append([]string{"-sS"}, arguments...)...).CombinedOutput(); err != nil {
			t.Fatalf("curl: %v: %s", err, out)
		}
		return !strings.Contains(string(out), "try again")
	})
	var answer struct {
		URL string `json:"websocket_url"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || answer.URL == "" {
		t.Fatalf("curl answers %s", out)
	}
	dial(t, answer.URL)
	return regexp.MustCompile(`/wss/(\w+)`).FindStringSubmatch(answer.URL)[1]
}

func TestDemosWhereAPortIsTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	taken := listener.Addr().String()
	for args, want := range map[string]string{
		"demo --listen " + taken:                            "is taken, perhaps by another gateway: " + os.Args[0] + " demo --listen 127.0.0.1:0",
		"demo --listen 256.0.0.1:1":                         "--listen",
		"demo --listen 127.0.0.1:0 --admin-listen " + taken: "demo --admin-listen 127.0.0.1:0 takes a port that is free",
		"demo-opentera --listen " + taken:                   "is taken",
	} {
		if got := command(t.Context(), nil, strings.Fields(args)...); got.code != 1 || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

// fitsATerminal checks what a demo prints.
func fitsATerminal(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 100 || strings.HasSuffix(line, " ") {
			t.Errorf("%d wide: %q", n, line)
		}
	}
}
