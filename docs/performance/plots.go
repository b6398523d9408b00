package main

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plots draws how each figure grows with the load: terasocket and the bare loop, a line for each number of clients.
func plots(loads []load) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, p := range []struct {
		name, title string
		value       func(figures) float64
	}{
		{"latency", "from the COMMIT to the last client, median, ms", func(f figures) float64 { return f.LastMedian }},
		{"cpu", "the server's CPU for 1,000,000 deliveries, s", func(f figures) float64 { return f.CPUPerMillion }},
	} {
		svg, err := draw(loads, p.title, p.value)
		if err != nil {
			return nil, fmt.Errorf("plot of %s: %w", p.name, err)
		}
		files["performance/"+p.name+".svg"] = svg
	}
	return files, nil
}

var (
	ours = color.RGBA{R: 0x00, G: 0x6d, B: 0x77, A: 0xff}
	bare = color.RGBA{R: 0xb2, G: 0x5d, B: 0x1c, A: 0xff}
)

func draw(loads []load, title string, value func(figures) float64) ([]byte, error) {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "events/s × clients"
	p.Legend.Top, p.Legend.Left = true, true
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Add(plotter.NewGrid())
	for i, clients := range []int{1_000, 10_000} {
		var gateway, reference plotter.XYs
		for _, l := range loads {
			if l.Clients == clients && l.People == 0 {
				offered := l.Rate * float64(l.Clients)
				gateway = append(gateway, plotter.XY{X: offered, Y: value(l.Gateway)})
				reference = append(reference, plotter.XY{X: offered, Y: value(l.Reference)})
			}
		}
		for _, s := range []struct {
			name  string
			color color.Color
			xys   plotter.XYs
		}{{"terasocket", ours, gateway}, {"bare loop", bare, reference}} {
			line, points, err := plotter.NewLinePoints(s.xys)
			if err != nil {
				return nil, err
			}
			line.Color, points.Color, line.Width = s.color, s.color, vg.Points(1.5)
			if i > 0 {
				line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
			}
			p.Add(line, points)
			p.Legend.Add(fmt.Sprintf("%s, %d clients", s.name, clients), line, points)
		}
	}
	drawn, err := p.WriterTo(16*vg.Centimeter, 9*vg.Centimeter, "svg")
	if err != nil {
		return nil, err
	}
	var svg bytes.Buffer
	_, err = drawn.WriteTo(&svg)
	return svg.Bytes(), err
}
