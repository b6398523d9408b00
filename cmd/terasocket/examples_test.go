package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// examples returns the clients of examples/, built in dir, each as a command line before server, username and password; nil if its language
// is not installed. TERASOCKET_TEST_EXAMPLES=all makes that a failure.
func examples(t *testing.T) map[string]func(t *testing.T, dir string) []string {
	root, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(t *testing.T, dir string) []string{
		"go": func(t *testing.T, dir string) []string {
			path := filepath.Join(dir, "client")
			mustRun(t, "", "go", "build", "-o", path, filepath.Join(root, "go"))
			return []string{path}
		},
		"python": func(t *testing.T, dir string) []string {
			for _, python := range []string{"python3", "/usr/bin/python3"} {
				if exec.CommandContext(t.Context(), python, "-c", "import websockets").Run() == nil {
					return []string{python, filepath.Join(root, "python/client.py")}
				}
			}
			return missing(t, "python3 with websockets (Debian: python3-websockets)")
		},
		"node": func(t *testing.T, dir string) []string {
			folder := installed(t, dir, filepath.Join(root, "node"))
			if folder == "" {
				return nil
			}
			return []string{"node", filepath.Join(folder, "client.js")}
		},
		"browser": func(t *testing.T, dir string) []string {
			folder := installed(t, dir, filepath.Join(root, "browser"))
			if folder == "" {
				return nil
			}
			mustRun(t, folder, "npx", "--no-install", "tsc")
			main := filepath.Join(folder, "main.mjs")
			if err := os.WriteFile(main, []byte(browserMain), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"node", "--experimental-websocket", main} // fetch and WebSocket as in browsers
		},
		"qt": func(t *testing.T, dir string) []string {
			if exec.CommandContext(t.Context(), "pkg-config", "--exists", "Qt6WebSockets").Run() != nil {
				return missing(t, "Qt6WebSockets (Debian: qt6-websockets-dev)")
			}
			mustRun(t, dir, "cmake", filepath.Join(root, "qt"), "-DCMAKE_BUILD_TYPE=Debug")
			mustRun(t, dir, "cmake", "--build", ".")
			return []string{filepath.Join(dir, "client")}
		},
	}
}

const browserMain = `import {follow} from "./dist/terasocket.js";
await follow(...process.argv.slice(2, 5), {
  event: (event, seq) => console.log(seq, JSON.stringify(event)),
  incomplete: () => console.log("incomplete"),
  state: (text) => console.log(text),
});
`

func mustRun(t *testing.T, folder, name string, args ...string) {
	t.Helper()
	run := exec.CommandContext(t.Context(), name, args...)
	run.Dir = folder
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func missing(t *testing.T, what string) []string {
	t.Helper()
	if os.Getenv("TERASOCKET_TEST_EXAMPLES") == "all" {
		t.Fatal("not installed: " + what)
	}
	t.Skip("not installed: " + what)
	return nil
}

// installed returns a copy of the folder, in dir, with the dependencies of its package.json.
func installed(t *testing.T, dir, from string) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		missing(t, "npm")
		return ""
	}
	folder := filepath.Join(dir, "example")
	if err := os.CopyFS(folder, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
	install.Dir = folder
	if out, err := install.CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("npm install: %v\n%s", err, out))
		return ""
	}
	return folder
}

// TestExamples puts the clients of examples/ through what a client must handle: an event, a restart with an event meanwhile, a
// log that does not reach back, and a kick.
func TestExamples(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	pool := dbtest.Pool(t, url)
	gateway := serve(t, url)
	cert, key, listen := gateway.cert, gateway.key, strings.TrimPrefix(gateway.URL, "wss://")
	users := []string{opentera.DemoProjectAdmin, opentera.DemoProjectUser, opentera.DemoSiteAdmin, opentera.DemoSuperadmin, opentera.DemoTwoGroups}
	var clients []*said
	for name, build := range examples(t) {
		dir := t.TempDir()
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "go" && name != "python" {
				t.Skip("its build takes long")
			}
			clients = append(clients, &said{name: name, user: users[len(clients)], command: build(t, dir)})
		})
	}
	for _, c := range clients {
		c.talk(t, gateway)
	}
	mustSay := func(want string) {
		t.Helper()
		for _, c := range clients {
			c.mustSay(want)
		}
	}

	mustSay(`^connected`)
	renameAlone(t, pool, 1, "first")
	mustSay(`^[0-9]+ .*participant.*first`)

	again := func(meanwhile func()) {
		gateway.mustStop()
		mustSay(`^coming back.*(1012|1002)`) // Qt reports an unknown code as 1002
		meanwhile()
		gateway = serve(t, url, "--listen", listen, "--tls-cert", cert, "--tls-key", key)
		mustSay(`^connected`)
	}
	again(func() { renameAlone(t, pool, 1, "missed") })
	mustSay(`^[0-9]+ .*participant.*missed`)

	again(func() {
		for i := range 3 {
			renameAlone(t, pool, 1, fmt.Sprint("trimmed ", i))
		}
		trim(t, url, uint64(dbtest.One[int64](t, pool, "SELECT max(seq) FROM terasocket.events")))
	})
	mustSay(`^incomplete`)
	renameAlone(t, pool, 1, "live")
	mustSay(`^[0-9]+ .*participant.*live`)

	psql(t, url, "SELECT terasocket.kick(user_uuid) FROM t_users WHERE user_username = ANY ('{"+strings.Join(users, ",")+"}')")
	mustSay(`^staying away.*4000`)
	for _, c := range clients {
		if err := c.process.Wait(); err != nil {
			t.Errorf("the %s client ended with %v", c.name, err)
		}
	}
}

// Each client has fewer than 100 lines, since those who copy it read it first.
func TestExamplesAreShort(t *testing.T) {
	t.Parallel()
	for _, client := range []string{"go/main.go", "python/client.py", "node/client.js", "browser/terasocket.ts", "qt/main.cpp"} {
		text, err := os.ReadFile(filepath.Join("../../examples", client))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "\n"); n >= 100 {
			t.Errorf("examples/%s has %d lines", client, n)
		}
	}
}

// said is a client of examples/, and its output.
type said struct {
	*testing.T
	name, user string
	command    []string
	process    *exec.Cmd
	lines      chan string
	all        []string
}

// talk starts it.
func (s *said) talk(t *testing.T, gateway *served) {
	t.Helper()
	s.T, s.lines = t, make(chan string, 1000)
	args := append(s.command[1:len(s.command):len(s.command)], gateway.HTTP(), s.user, opentera.DemoPassword)
	if s.name == "node" {
		args = append(args, must(filepath.Abs("../../proto")))
	}
	s.process = exec.Command(s.command[0], args...)
	s.process.Env = append(os.Environ(), "SSL_CERT_FILE="+gateway.cert, "NODE_EXTRA_CA_CERTS="+gateway.cert)
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr dbtest.Log
	s.process.Stderr = &stderr
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.process.Process.Kill()
		if t.Failed() {
			t.Logf("the %s client said:\n%s\n%s", s.name, strings.Join(s.all, "\n"), stderr.String())
		}
	})
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
	}()
}

// mustSay reads on until a line matches.
func (s *said) mustSay(want string) {
	s.Helper()
	pattern, limit := regexp.MustCompile(want), time.After(time.Minute)
	for {
		select {
		case line, more := <-s.lines:
			s.all = append(s.all, line)
			if !more {
				s.Fatalf("the %s client ended before it printed %q", s.name, want)
			} else if pattern.MatchString(line) {
				return
			}
		case <-limit:
			s.Fatalf("the %s client never printed %q", s.name, want)
		}
	}
}
