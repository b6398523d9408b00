package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// benched returns the output of `terasocket bench --json`, run as a program of its own.
func benched(t *testing.T, args ...string) (r benchResult) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), must(os.Executable()), append([]string{"bench", "--json"}, args...)...)
	var stderr strings.Builder
	cmd.Env, cmd.Stderr = append(os.Environ(), asProgram+"=1"), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return r
}

// bench measures the program that operators run: every client receives every event, and the bare loop is measured beside it.
func TestBenchCommand(t *testing.T) {
	t.Parallel()
	r := benched(t, "--clients", "30", "--users", "10", "--people", "5", "--rate", "20", "--duration", "500ms", "--idle", "500ms", "--reference")
	for name, f := range map[string]*benchFigures{"gateway": r.Gateway, "reference": r.Reference} {
		if f == nil || f.Events != 10 || f.Deliveries != 300 || f.Missing != 0 || f.LastMedian <= 0 || f.LastP99 < f.LastMedian || f.FrameBytes < 126 {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if r.Clients != 30 || r.Users != 10 || r.People != 5 || r.Gateway != nil && (r.Gateway.PostgresPerEvent <= 0 || r.Gateway.IdlePostgresCPU < 0) {
		t.Errorf("%+v", r)
	}
}

// In a storm, events reach the clients that are connected at the time.
func TestBenchStorm(t *testing.T) {
	t.Parallel()
	r := benched(t, "--clients", "30", "--users", "30", "--rate", "20", "--storm", "1s")
	if f := r.Gateway; r.Storm != 1 || f == nil || f.Events != 20 || f.Deliveries == 0 || f.Deliveries > 600 || f.EachP99 <= 0 || f.ConnectFrames < 30+f.Deliveries || f.ConnectPostgresCPU <= 0 {
		t.Errorf("%+v: %+v", r, f)
	}
}

func TestBenchRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--clients=0": "--clients", "--users=0": "--users", "--people=-1": "not negative", "--writers=0": "--writers",
		"--rate=0": "must be positive", "--duration=0": "must be positive", "--rate=0.01": "less than one event", "--idle=-1s": "not negative", "--storm=1s --reference": "exclude each other",
	} {
		if got := command(t.Context(), nil, append([]string{"bench"}, strings.Fields(flag)...)...); got.code != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit code %d, %q; want %q", flag, got.code, got.stderr, want)
		}
	}
}

func TestQuantileAndTable(t *testing.T) {
	t.Parallel()
	f := &benchFigures{LastMedian: 1.25, FrameBytes: 510}
	var out strings.Builder
	r := benchResult{Clients: 10, Users: 5, Rate: 2, Seconds: 3, Encoding: "json", Gateway: f, Reference: f}
	if err := r.print(&out); err != nil || !strings.Contains(out.String(), "10 clients of 5 users") || strings.Count(out.String(), "1.2") != 2 {
		t.Errorf("%v: %s", err, &out)
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if len(line) > 100 {
			t.Errorf("a line of %d: %s", len(line), line)
		}
	}
}
