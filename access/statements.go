package access

import (
	"embed"
	"strings"
)

//go:embed sql/*.sql
var statements embed.FS

// Statements are those of this package that are long enough for a file, by its name.
func Statements() map[string]string {
	all := map[string]string{}
	files, _ := statements.ReadDir("sql") // what is embedded is there
	for _, f := range files {
		text, _ := statements.ReadFile("sql/" + f.Name())
		all[strings.TrimSuffix(f.Name(), ".sql")] = string(text)
	}
	return all
}
