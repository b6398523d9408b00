// Command performance measures, and writes docs/performance.md with its plots from what was measured:
//
//	make bench          measure (some 15 minutes, on a machine that does nothing else), and write
//	make performance    write only, from results.json
package main

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"text/template"
)

// results is results.json.
type results struct {
	Machine string                        `json:"machine"`
	Date    string                        `json:"date"`
	Loads   []load                        `json:"loads"`
	Crowd   load                          `json:"crowd"` // 4,000 sockets of 500 users
	Idle    load                          `json:"idle"`  // 10,000 sockets and nothing but pings
	Storm   load                          `json:"storm"` // 2,000 users who see each other connect within 10 s
	Go      map[string]map[string]float64 `json:"go"`    // benchmark without its number of processors -> unit -> value
}

// load is what `terasocket bench --json` printed.
type load struct {
	Clients   int     `json:"clients"`
	People    int     `json:"people"`
	Rate      float64 `json:"rate"`
	Gateway   figures `json:"gateway"`
	Reference figures `json:"reference,omitzero"`
}

type figures struct {
	ConnectsPerSecond   float64 `json:"connects_per_second"`
	ConnectCPU          float64 `json:"connect_cpu_ms"`
	ConnectPostgresCPU  float64 `json:"connect_postgresql_cpu_ms"`
	ConnectFrames       int     `json:"connect_frames"`
	BytesPerIdleClient  int64   `json:"bytes_per_idle_client"`
	IdleCPU             float64 `json:"idle_cpu_percent,omitzero"`
	IdlePostgresCPU     float64 `json:"idle_postgresql_cpu_percent,omitzero"`
	Missing             int     `json:"missing"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	LastMedian          float64 `json:"last_client_median_ms"`
	LastP99             float64 `json:"last_client_p99_ms"`
	CPUPerMillion       float64 `json:"cpu_seconds_per_million_deliveries"`
	PostgresPerEvent    float64 `json:"postgresql_cpu_ms_per_event"`
	FrameBytes          int     `json:"frame_bytes"`
}

const stored = "results.json"

//go:embed performance.md.tmpl
var page string

func main() {
	log.SetFlags(0)
	log.SetPrefix("performance: ")
	isMeasured := flag.Bool("measure", false, "measure first, and keep it in "+stored)
	flag.Parse()
	if err := run(*isMeasured); err != nil {
		log.Fatal(err)
	}
}

func run(isMeasured bool) error {
	if isMeasured {
		r, err := measure()
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(r, "", "\t")
		if err == nil {
			err = os.WriteFile(stored, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("keep what was measured: %w", err)
		}
	}
	files, err := render()
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join("..", name), content, 0o644); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// render makes the page and its plots, by their paths below docs/.
func render() (files map[string][]byte, err error) {
	text, err := os.ReadFile(stored)
	if err != nil {
		return nil, fmt.Errorf("read what was measured (make bench measures): %w", err)
	}
	var r results
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", stored, err)
	}
	slices.SortFunc(r.Loads, func(a, b load) int {
		return cmp.Or(cmp.Compare(a.People, b.People), cmp.Compare(a.Clients, b.Clients), cmp.Compare(a.Rate, b.Rate))
	})
	tmpl, err := template.New("performance.md").Option("missingkey=error").Funcs(template.FuncMap{"go": r.metric, "load": r.load, "mul": product, "div": quotient}).Parse(page)
	if err != nil {
		return nil, err
	}
	var written bytes.Buffer
	if err := tmpl.Execute(&written, r); err != nil {
		return nil, err
	}
	files, err = plots(r.Loads)
	if err == nil {
		files["performance.md"] = written.Bytes()
	}
	return files, err
}

// metric is one value of a Go benchmark.
func (r results) metric(benchmark, unit string) (float64, error) {
	if value, ok := r.Go[benchmark][unit]; ok {
		return value, nil
	}
	return 0, fmt.Errorf("%s has no %s of %s", stored, unit, benchmark)
}

// load is what was measured with so many clients, at so many events a second.
func (r results) load(clients int, rate float64) (load, error) {
	for _, l := range r.Loads {
		if l.Clients == clients && l.Rate == rate && l.People == 0 {
			return l, nil
		}
	}
	return load{}, fmt.Errorf("%s has no load of %d clients and %v events a second", stored, clients, rate)
}

func product(a, b any) float64  { return number(a) * number(b) }
func quotient(a, b any) float64 { return number(a) / number(b) }

// number is one of a template.
func number(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int:
		return float64(v)
	case int64:
		return float64(v)
	}
	panic(fmt.Sprintf("%v is no number", v))
}
