package migrations

import (
	"embed"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed *.sql
var files embed.FS

// Step is one migration.
type Step struct {
	Version uint   `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// Steps lists the embedded migrations in order, none of them applied.
func Steps() []Step {
	names, err := fs.Glob(files, "*.up.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	steps := make([]Step, 0, len(names))
	for _, name := range names {
		number, rest, _ := strings.Cut(name, "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			panic("migration file without a number: " + name) // fixed when the binary is built
		}
		steps = append(steps, Step{Version: uint(version), Name: strings.TrimSuffix(rest, ".up.sql")})
	}
	return steps
}

// Latest is the version that this binary needs.
func Latest() uint {
	steps := Steps()
	return steps[len(steps)-1].Version
}
