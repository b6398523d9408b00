package api

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// specification is a YAML document of docs/, with its keys in order.
type specification struct{ root, node *yaml.Node }

func readSpecification(t *testing.T, path string) specification {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	return specification{document.Content[0], document.Content[0]}
}

// at follows keys, references and aliases. It is empty if nothing is there.
func (d specification) at(keys ...string) specification {
	for _, key := range keys {
		next := &yaml.Node{}
		for name, value := range d.each() {
			if name == key {
				next = value.node
			}
		}
		d.node = next
		if d.node.Kind == yaml.AliasNode {
			d.node = d.node.Alias
		}
		if ref := d.ref(); ref != "" {
			d = specification{d.root, d.root}.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return d
}

func (d specification) ref() string {
	if d.node.Kind == yaml.MappingNode && len(d.node.Content) == 2 && d.node.Content[0].Value == "$ref" {
		return d.node.Content[1].Value
	}
	return ""
}

// each yields the keys of an object, or the items of a list under "0", "1" and so on.
func (d specification) each() func(yield func(string, specification) bool) {
	return func(yield func(string, specification) bool) {
		for i, n := range d.node.Content {
			switch {
			case d.node.Kind == yaml.SequenceNode && !yield(fmt.Sprint(i), specification{d.root, n}):
				return
			case d.node.Kind == yaml.MappingNode && i%2 == 1 && !yield(d.node.Content[i-1].Value, specification{d.root, n}):
				return
			}
		}
	}
}

// text returns a value as the text of a table cell.
func (d specification) text(keys ...string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(strings.Join(strings.Fields(d.at(keys...).node.Value), " "))
}

func keysOf(d specification) (keys []string) {
	for key := range d.each() {
		keys = append(keys, key)
	}
	return keys
}

// TestTheReferenceIsCurrent compares docs/reference.md with docs/openapi.yaml and docs/asyncapi.yaml, which other tests compare
// with the code. With TERASOCKET_WRITE_DOCS set it writes docs/reference.md.
func TestTheReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	rest, sockets := readSpecification(t, "../docs/openapi.yaml"), readSpecification(t, "../docs/asyncapi.yaml")
	var b bytes.Buffer
	b.WriteString("# Reference\n\nEvery endpoint, answer, parameter and close code: [openapi.yaml](openapi.yaml) and [asyncapi.yaml](asyncapi.yaml) to read\n" +
		"(`make reference` writes it). [clients.md](clients.md) says how to use them.\n\n## REST\n")
	for path, operations := range rest.at("paths").each() {
		for method := range operations.each() {
			o := rest.at("paths", path, method)
			fmt.Fprintf(&b, "\n### %s %s\n\n%s\n", strings.ToUpper(method), path, o.text("summary"))
			var keys []string
			for i := range o.at("security").each() {
				keys = append(keys, strings.Join(keysOf(o.at("security", i)), " with "))
			}
			if len(keys) > 0 {
				fmt.Fprintf(&b, "Credentials: %s.\n", strings.Join(keys, ", or "))
			}
			if parameters := keysOf(o.at("parameters")); len(parameters) > 0 {
				b.WriteString("\n| parameter | in | type | |\n|---|---|---|---|\n")
				for _, i := range parameters {
					p := o.at("parameters", i)
					name := "`" + p.text("name") + "`"
					if p.text("required") == "true" {
						name += ", required"
					}
					fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, p.text("in"), p.text("schema", "type"), p.text("description"))
				}
			}
			b.WriteString("\n| answer | |\n|---|---|\n")
			for status := range o.at("responses").each() {
				fmt.Fprintf(&b, "| %s | %s |\n", status, o.text("responses", status, "description"))
			}
		}
	}
	b.WriteString("\nCredentials are:\n\n| | |\n|---|---|\n")
	for name, s := range rest.at("components", "securitySchemes").each() {
		fmt.Fprintf(&b, "| %s | %s %s %s: %s |\n", name, s.text("type"), s.text("in")+s.text("scheme"), s.text("name"), s.text("description"))
	}
	channel := sockets.at("channels", "user")
	fmt.Fprintf(&b, "\n## Sockets\n\n`%s`, with in its query:\n\n| parameter | type | |\n|---|---|---|\n", channel.text("address"))
	for name, p := range channel.at("bindings", "ws", "query", "properties").each() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, p.text("type"), p.text("description"))
	}
	b.WriteString("\n| message | content type | |\n|---|---|---|\n")
	for _, m := range sockets.at("components", "messages").each() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.text("title"), m.text("contentType"), m.text("description"))
	}
	b.WriteString("\n| close code | reason | come back | |\n|---|---|---|---|\n")
	for code, c := range sockets.at("x-close-codes").each() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code, c.text("reason"), map[string]string{"true": "yes", "false": "no"}[c.text("comeBack")], c.text("means"))
	}
	const page = "../docs/reference.md"
	if os.Getenv("TERASOCKET_WRITE_DOCS") != "" {
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if committed, err := os.ReadFile(page); err != nil || !bytes.Equal(committed, b.Bytes()) {
		t.Errorf("docs/reference.md is not current (%v): make reference", err)
	}
}
