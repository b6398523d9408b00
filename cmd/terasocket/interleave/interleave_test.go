package interleave

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"terasocket/db/dbtest"
)

const roundsOfProgram = 6

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestInterleave runs random programs until its time is over or one fails, which it then shrinks and prints.
func TestInterleave(t *testing.T) {
	t.Parallel()
	limit, err := time.ParseDuration(cmp.Or(os.Getenv("INTERLEAVE_TIME"), map[bool]string{true: "3s", false: "20s"}[testing.Short()]))
	if err != nil {
		t.Fatal(err)
	}
	seed := atomic.Uint64{}
	seed.Store(uint64(setting("INTERLEAVE_SEED", int(time.Now().UnixNano()%1_000_000_000))))
	goOn := os.Getenv("INTERLEAVE_GOON") != ""
	t.Logf("first seed %d", seed.Load())
	dbtest.New(t, world()) // building the program and the template takes a while
	began := time.Now()

	var mu sync.Mutex
	total, kinds := map[string]int{}, map[string]int{}
	said := map[string]int{}
	var failing *program
	var lanes sync.WaitGroup
	for range setting("INTERLEAVE_LANES", 2) {
		lanes.Go(func() {
			for time.Since(began) < limit {
				n := seed.Add(1) - 1
				g := newGenerator(n)
				g.isSerial, g.isSingle = os.Getenv("INTERLEAVE_SERIAL") != "", os.Getenv("INTERLEAVE_SERIAL") == "single"
				p := g.program(n, roundsOfProgram)
				problems, counts, err := try(t, p)
				if only := os.Getenv("INTERLEAVE_KIND"); only != "" {
					problems = slices.DeleteFunc(problems, func(f problem) bool { return !f.is(only) })
				}
				mu.Lock()
				for k, v := range counts {
					total[k] += v
				}
				total["programs"]++
				if err != nil {
					t.Errorf("seed %d: %v", n, err)
				}
				shown := map[string]bool{} // one of each kind
				for _, f := range problems {
					kinds[f.what()]++
					if shown[f.what()] {
						continue
					}
					shown[f.what()] = true
					if said[f.what()]++; goOn && said[f.what()] <= setting("INTERLEAVE_EXAMPLES", 2) {
						t.Errorf("seed %d, round %d: %s", n, f.round, f)
					}
				}
				isOver := err != nil && !goOn
				if len(problems) > 0 && failing == nil {
					failing = &p
				}
				isOver = isOver || failing != nil && !goOn
				mu.Unlock()
				if isOver {
					return
				}
			}
		})
	}
	lanes.Wait()
	for _, k := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%s: %d", k, total[k])
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		t.Errorf("%s: %d", k, kinds[k])
	}
	if failing != nil && !goOn {
		small, problems := shrink(t, *failing, os.Getenv("INTERLEAVE_KIND"))
		t.Error(report(small, problems))
	}
}

// try runs a program in a subtest, whose end removes its database.
func try(t *testing.T, p program) (problems []problem, counts map[string]int, err error) {
	t.Run("run", func(t *testing.T) { problems, counts, err = run(t, p) })
	return problems, counts, err
}

// report describes a failing program: what is wrong, and how to reproduce it.
func report(p program, problems []problem) string {
	var b strings.Builder
	for i, f := range problems {
		if i == 4 {
			fmt.Fprintf(&b, "and %d more\n", len(problems)-i)
			break
		}
		fmt.Fprintf(&b, "%s\n", f)
	}
	b.WriteString(p.script())
	if len(problems) > 0 && p.size() != len(problems[0].took) {
		fmt.Fprintf(&b, "-- what was done in round %d:\n%s\n", problems[0].round, strings.Join(problems[0].took, "\n"))
	}
	return b.String()
}
