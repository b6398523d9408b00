package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

// settingsFlags prints the settings of a command instead of running it.
type settingsFlags struct {
	PrintConfig bool `name:"print-config" help:"Print every setting, its value without secrets, and where it comes from; serve nothing."`
	JSON        bool `name:"json" help:"With --print-config: one JSON array."`
}

// configured commands can check their settings without running.
type configured interface {
	url() (string, error)
	check() error
}

// setting is one flag with its effective value. From is "flag", "environment NAME", "file PATH (NAME)" or "default".
type setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// AfterApply is called by kong once flags, environment and defaults are known. Wrong settings exit with 2, a missing database
// with 1, as the command itself would.
func (f *settingsFlags) AfterApply(parsed *kong.Context, con *console) error {
	if !f.PrintConfig {
		return nil
	}
	if err := printSettings(con.stdout, settings(parsed, con), f.JSON); err != nil {
		return err
	}
	for _, text := range misspelt(context.Background(), os.Environ()) {
		complain(con.stderr, "terasocket: "+text)
	}
	code := 0
	if command, ok := parsed.Selected().Target.Addr().Interface().(configured); ok {
		_, noURL := command.url()
		for i, err := range []error{noURL, command.check()} {
			if err != nil {
				complain(con.stderr, "terasocket: "+oneLine(err))
				code = i + 1
			}
		}
	}
	parsed.Exit(code)
	return nil
}

// notOurs are variables that Kubernetes sets for a service named terasocket, and those of our own tests.
var notOurs = regexp.MustCompile(`^TERASOCKET_(TEST_|WRITE_MAN$|(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP).*)?)$)`)

// misspelt lists the environment variables (NAME=value) that no command reads, with kong's suggestion.
func misspelt(ctx context.Context, environ []string) (said []string) {
	parser, err := newParser(ctx, &console{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}, func(int) {})
	if err != nil {
		return nil
	}
	known := map[string]bool{}
	for _, leaf := range parser.Model.Leaves(false) {
		for _, flag := range leaf.Flags {
			name := "TERASOCKET_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
			known[name], known[name+"_FILE"] = true, true
		}
	}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		rest, ok := strings.CutPrefix(strings.TrimSuffix(name, "_FILE"), "TERASOCKET_")
		if !ok || known[name] || notOurs.MatchString(name) {
			continue
		}
		flag := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		text := name + " is no setting"
		_, err := parser.Parse([]string{"serve", "--" + flag})
		if _, meant, ok := strings.Cut(fmt.Sprint(err), ", did you mean "); ok {
			text += ", did you mean TERASOCKET_" + strings.ToUpper(strings.NewReplacer(`"--`, "", `"`, "", "-", "_", ", ", ", TERASOCKET_").Replace(meant))
		}
		said = append(said, text)
	}
	return said
}

// settings returns the flags of the given command, in the order of its help.
func settings(parsed *kong.Context, con *console) []setting {
	given := map[string]bool{}
	for _, path := range parsed.Path {
		if path.Flag != nil && !path.Resolved {
			given[path.Flag.Name] = true
		}
	}
	var all []setting
	for _, flag := range parsed.Selected().Flags {
		if flag.Name == "print-config" || flag.Name == "json" {
			continue
		}
		from := "default"
		switch {
		case given[flag.Name]:
			from = "flag"
		case con.origins[flag.Name] != "":
			from = con.origins[flag.Name]
		}
		value := text(flag.Target.Interface())
		if serve, ok := parsed.Selected().Target.Addr().Interface().(*serveCmd); ok && flag.Name == "encoding" {
			value = serve.encodingName()
		}
		all = append(all, setting{flag.Name, withoutSecret(flag.Name, value), from})
	}
	return all
}

// text formats a value as on the command line.
func text(value any) string {
	if list, ok := value.([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(value)
}

func printSettings(w io.Writer, all []setting, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(all)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range all {
		value := s.Value
		if value == "" {
			value = "-"
		}
		_, _ = fmt.Fprintf(table, "--%s\t%s\t%s\n", s.Name, value, s.From)
	}
	return table.Flush()
}

// withoutSecret returns a value without passwords and keys.
func withoutSecret(name, value string) string {
	switch {
	case value == "":
		return ""
	case strings.HasSuffix(name, "-url"):
		return withoutPassword(value)
	case strings.HasSuffix(name, "-file"):
		return value
	case slices.ContainsFunc([]string{"password", "secret", "token"}, func(word string) bool { return strings.Contains(name, word) }):
		return hidden
	}
	return value
}

const hidden = "(hidden)"

// withoutPassword removes the password from a URL. It hides anything else entirely: PostgreSQL's "host=... password=...", what
// cannot be parsed, and a URL with another @ than the one after user and password, since an unescaped password could then be
// anywhere.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Path == "" || u.Opaque != "" || u.Fragment != "" || strings.Count(text, "@") > 1 || strings.Contains(text, "@") && u.User == nil {
		return hidden
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return hidden
	}
	for key := range query {
		if strings.Contains(strings.ToLower(key), "password") || strings.Contains(strings.ToLower(key), "secret") {
			query.Set(key, "xxxxx")
		}
	}
	u.RawQuery = query.Encode()
	return u.Redacted()
}
