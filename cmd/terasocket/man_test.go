package main

import (
	"io"
	"os"
	"strings"
	"testing"

	mangokong "github.com/alecthomas/mango-kong"
	"github.com/muesli/roff"
)

const manPage = "../../packaging/terasocket.8"

// TestManPageIsCurrent compares the man page with the flags. `make man` writes it.
func TestManPageIsCurrent(t *testing.T) {
	t.Parallel()
	parser, err := newParser(t.Context(), &console{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	what, about, _ := strings.Cut(parser.Model.Help, "\n\n") // every line would become a paragraph
	parser.Model.Help, parser.Model.Detail = what, strings.ReplaceAll(about, "\n", " ")
	for _, leaf := range parser.Model.Leaves(true) { // mango runs the detail into the command's name
		leaf.Help, leaf.Detail = strings.Join(strings.Fields(leaf.Help+" "+leaf.Detail), " "), ""
	}
	page := mangokong.NewManPage(8, parser.Model)
	page = page.WithSection("Files", "/etc/terasocket/terasocket.env\n\nThe environment of the systemd unit: settings are TERASOCKET_ and the flag in capitals.").
		WithSection("Exit status", "0 done, 1 failed, 2 wrong usage.")
	want := page.Build(roff.NewDocument())
	// mango dates the page: two builds of one commit must give the same bytes
	if lines := strings.SplitN(want, "\n", 2); strings.HasPrefix(lines[0], ".TH") {
		want = `.TH TERASOCKET 8 "" "terasocket"` + "\n" + lines[1]
	}
	if os.Getenv("TERASOCKET_WRITE_MAN") != "" {
		if err := os.WriteFile(manPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(manPage)
	if err != nil || string(got) != want {
		t.Errorf("%s is not current (%v): run `make man`", manPage, err)
	}
}
