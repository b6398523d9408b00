package interleave

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"

	"terasocket/db/dbtest"
)

// gateway is `terasocket serve` in a process of its own.
type gateway struct {
	process *exec.Cmd
	url     string // ws://127.0.0.1:port
	exited  chan struct{}
	log     dbtest.Log
}

var readyLine = regexp.MustCompile(`^terasocket \S+ ready: (ws://[^,]+),`)

// startGateway returns when the gateway is ready. stop ends it.
func startGateway(databaseURL string) (*gateway, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	g := &gateway{exited: make(chan struct{})}
	g.process = exec.Command(path, "serve", "--plain-http", "--listen", "127.0.0.1:0", "--admin-listen", "", "--drain-time", "0s", "--presence-grace", "0s")
	g.process.Env = append(os.Environ(), "DATABASE_URL="+databaseURL)
	g.process.Stderr = &g.log
	stdout, err := g.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.process.Start(); err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	lines := bufio.NewScanner(stdout)
	isReady := lines.Scan()
	if match := readyLine.FindStringSubmatch(lines.Text()); isReady && match != nil {
		g.url = match[1]
	}
	go func() {
		for lines.Scan() {
		}
		_ = g.process.Wait()
		close(g.exited)
	}()
	if g.url == "" {
		g.stop()
		return nil, fmt.Errorf("the gateway did not get ready: %q: %s", lines.Text(), &g.log)
	}
	return g, nil
}

func (g *gateway) stop() {
	_ = g.process.Process.Kill()
	<-g.exited
}
