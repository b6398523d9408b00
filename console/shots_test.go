package console_test

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"terasocket/db/opentera"
)

// TestScreenshots takes the pictures of docs/console from a demo that has run for a quarter of an hour:
//
//	make demo
//	TERASOCKET_TEST_SCREENSHOTS=http://127.0.0.1:4051/console/ go test ./console -run TestScreenshots -count 1
func TestScreenshots(t *testing.T) {
	base := os.Getenv("TERASOCKET_TEST_SCREENSHOTS")
	if base == "" {
		t.Skip("TERASOCKET_TEST_SCREENSHOTS is not set: no pictures are taken")
	}
	const folder = "../docs/console"
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	shot := func(p *page, name string) {
		t.Helper()
		time.Sleep(2 * time.Second) // for plots and delayed content
		picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
		if err == nil {
			picture, err = paletted(picture)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(picture) > 150_000 {
			t.Errorf("%s.png has %d bytes", name, len(picture))
		}
	}
	for _, theme := range []string{"", "-dark"} {
		p := browse(t, base, 1280, 800, "en")
		p.sees(".tiles", "Sockets")
		if theme != "" {
			p.click("#theme", "")
		}
		p.sees("main", "Examine again")
		shot(p, "well"+theme)
		p.open("people")
		p.sees("main", "Disconnect")
		shot(p, "people"+theme)
		p.open("log")
		p.fill("main .search", "participant ")
		p.click("main tr[tabindex] b", "participant ")
		p.choose("Ulysse")
		p.sees(".verdict", "Ulysse")
		shot(p, "why"+theme)
		p.do(chromedp.KeyEvent("\x1b"))
		p.open("client")
		p.signInAsClient(opentera.DemoSuperadmin, true)
		time.Sleep(12 * time.Second)
		p.click("button", "Cut the network")
		p.sees(".frames", "Missed events received")
		shot(p, "client"+theme)
		p.click("button", "Disconnect")
	}
	p := browse(t, base, 390, 800, "fr")
	p.sees(".tiles", "Connexions")
	shot(p, "phone")
}

// paletted reduces a picture to its 256 most frequent colours: half the bytes, with no visible difference.
func paletted(data []byte) ([]byte, error) {
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	counts := map[color.Color]int{}
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[picture.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return counts[b] - counts[a] })
	reduced := image.NewPaletted(bounds, color.Palette(colours[:min(256, len(colours))]))
	draw.Draw(reduced, bounds, picture, bounds.Min, draw.Src)
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, reduced)
	return out.Bytes(), err
}

// open shows a view.
func (p *page) open(view string) {
	p.t.Helper()
	eval[chromedp.Void](p, "location.hash = '"+view+"'")
	p.until("document.querySelector('main." + view + "')")
}

// choose types a name into the form for explanations and takes the first match.
func (p *page) choose(name string) {
	p.t.Helper()
	p.fill("dialog .search", name)
	p.click("dialog .choice", name)
}

// signInAsClient fills the form of the client view.
func (p *page) signInAsClient(username string, replace bool) {
	p.t.Helper()
	p.fill("form input[name=name]", username)
	p.fill("form input[name=password]", opentera.DemoPassword)
	if replace {
		eval[chromedp.Void](p, "document.querySelector('form input[name=replace]').click()")
	}
	p.click("form button.main", "")
	p.until("document.querySelector('.bar .dot.good')")
}
