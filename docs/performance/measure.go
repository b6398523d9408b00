package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
)

// loads are of `terasocket bench`: clients, people beside them, events a second.
var loads = []struct{ clients, people, rate int }{
	{1_000, 0, 10}, {1_000, 0, 40}, {1_000, 0, 100}, {1_000, 0, 200}, {1_000, 0, 400},
	{10_000, 0, 4}, {10_000, 0, 10}, {10_000, 0, 20},
	{100, 10_000, 10},
}

// benchmarks are of the Go packages.
var benchmarks = []struct{ packages, pattern string }{
	{"./migrations", "^(BenchmarkCapture|BenchmarkSixteenWriters|BenchmarkAnnounce)$"},
	{"./cmd/terasocket", "^(BenchmarkCommitToFrame|BenchmarkPublishToFrame)$"},
	{"./eventlog", "^BenchmarkWriters$"},
	{"./bridge", "^BenchmarkMessages$"},
	{"./audit", "."},
	{"./ws", "^(BenchmarkSend|BenchmarkDeliver|BenchmarkIdleConnection)$"},
	{"./access", "^(BenchmarkAudience|BenchmarkRedeem)$"},
	{"./presence", "^(BenchmarkConnected|BenchmarkSnapshot)$"},
	{"./proto/event", "."},
}

func measure() (results, error) {
	r := results{Date: time.Now().Format("2 January 2006"), Go: map[string]map[string]float64{}}
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	model := "unknown processors"
	for line := range strings.Lines(string(cpu)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	r.Machine = fmt.Sprintf("%d cores (%s)", runtime.NumCPU(), model)
	for _, l := range loads {
		measured, err := bench("--reference", "--duration", "10s", "--clients", fmt.Sprint(l.clients), "--people", fmt.Sprint(l.people), "--rate", fmt.Sprint(l.rate))
		if err != nil {
			return results{}, err
		}
		r.Loads = append(r.Loads, measured)
	}
	var err error
	if r.Crowd, err = bench("--clients", "4000"); err != nil {
		return results{}, err
	}
	if r.Idle, err = bench("--clients", "10000", "--rate", "1", "--idle", "60s"); err != nil {
		return results{}, err
	}
	if r.Storm, err = bench("--clients", "2000", "--users", "2000", "--storm", "10s"); err != nil {
		return results{}, err
	}
	for _, b := range benchmarks {
		out, err := command("go", "test", "-run", "^$", "-bench", b.pattern, "-benchmem", "-timeout", "30m", b.packages)
		if err != nil {
			return results{}, err
		}
		read := benchfmt.NewReader(bytes.NewReader(out), b.packages)
		for read.Scan() {
			if result, ok := read.Result().(*benchfmt.Result); ok {
				name := strings.TrimSuffix(string(result.Name.Full()), fmt.Sprintf("-%d", runtime.NumCPU()))
				r.Go[name] = map[string]float64{}
				for _, v := range result.Values {
					r.Go[name][v.Unit] = v.Value
					if v.OrigUnit != "" {
						r.Go[name][v.OrigUnit] = v.OrigValue
					}
				}
			}
		}
		if err := read.Err(); err != nil {
			return results{}, fmt.Errorf("what go test printed: %w", err)
		}
	}
	return r, nil
}

// bench runs `terasocket bench`.
func bench(args ...string) (measured load, err error) {
	out, err := command("bin/terasocket", append([]string{"bench", "--json"}, args...)...)
	if err != nil {
		return load{}, err
	}
	if err := json.Unmarshal(out, &measured); err != nil {
		return load{}, fmt.Errorf("what terasocket bench printed: %w", err)
	}
	return measured, nil
}

// command runs something in the root of the repository, and gives what it printed.
func command(name string, args ...string) ([]byte, error) {
	fmt.Fprintln(os.Stderr, name, strings.Join(args, " "))
	c := exec.Command(name, args...)
	c.Dir, c.Stderr = "../..", os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return out, nil
}
