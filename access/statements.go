package access

import (
	"embed"
	"strings"
)

//go:embed sql/*.sql
var statements embed.FS

// Statements returns this package's SQL by file name.
func Statements() map[string]string {
	all := map[string]string{}
	files, _ := statements.ReadDir("sql") // embedded: cannot fail
	for _, f := range files {
		text, _ := statements.ReadFile("sql/" + f.Name())
		all[strings.TrimSuffix(f.Name(), ".sql")] = string(text)
	}
	return all
}
