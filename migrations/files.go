package migrations

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"
	bindata "github.com/golang-migrate/migrate/v4/source/go_bindata"
)

//go:generate go run ./genmessages functions/message_fields.sql

//go:embed *.sql functions/*.sql
var embedded embed.FS

// Compatibility changes when older and newer gateways and functions (or tables) cannot work with each other. A gateway runs beside older
// and newer functions of its own number.
const Compatibility = 3

// Step is one migration.
type Step struct {
	Version uint   `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// Steps lists the embedded migrations in order, none of them applied.
func Steps() []Step { return scripts{embedded}.steps() }

// Latest is this binary's version of the tables.
func Latest() uint { return scripts{embedded}.latest() }

// scripts are the files of a set of migrations: NNNN_name.{up,down}.sql and functions/*.sql.
type scripts struct{ fs.FS }

func (s scripts) steps() []Step {
	names, err := fs.Glob(s, "*.up.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	steps := make([]Step, 0, len(names))
	for _, name := range names {
		number, rest, _ := strings.Cut(name, "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			panic("migration file without a number: " + name) // fixed at build time
		}
		steps = append(steps, Step{Version: uint(version), Name: strings.TrimSuffix(rest, ".up.sql")})
	}
	return steps
}

func (s scripts) latest() uint {
	steps := s.steps()
	return steps[len(steps)-1].Version
}

// source returns the migrations for golang-migrate, with the name of OpenTera's schema.
func (s scripts) source(schema string) (source.Driver, error) {
	names, err := fs.Glob(s, "*.sql")
	if err != nil {
		return nil, err
	}
	return bindata.WithInstance(bindata.Resource(names, func(name string) ([]byte, error) { return s.read(name, schema) }))
}

// down returns the script that reverts a version.
func (s scripts) down(version uint, schema string) (string, error) {
	for _, step := range s.steps() {
		if step.Version == version {
			text, err := s.read(fmt.Sprintf("%04d_%s.down.sql", version, step.Name), schema)
			return string(text), err
		}
	}
	return "", fmt.Errorf("there is no migration %d", version)
}

var creation = regexp.MustCompile(`(?m)^CREATE (?:UNLOGGED )?TABLE (terasocket\.\w+)`)

// creates returns the tables that a version creates, none for a version that does not exist.
func (s scripts) creates(version int) (tables []string, err error) {
	names, err := fs.Glob(s, fmt.Sprintf("%04d_*.up.sql", version))
	for _, name := range names {
		text, readErr := fs.ReadFile(s, name)
		err = errors.Join(err, readErr)
		for _, match := range creation.FindAllSubmatch(text, -1) {
			tables = append(tables, string(match[1]))
		}
	}
	return tables, err
}

// function is a file of functions.
type function struct{ name, text string }

// functions returns the function files in the order in which they are applied.
func (s scripts) functions(schema string) (files []function, err error) {
	names, err := fs.Glob(s, "functions/*.sql")
	slices.Sort(names)
	for _, name := range names {
		text, readErr := s.read(name, schema)
		err = errors.Join(err, readErr)
		files = append(files, function{name, string(text)})
	}
	if err != nil {
		return nil, fmt.Errorf("read the embedded functions: %w", err)
	}
	return files, nil
}

// hashOf returns a hash of the files' names and contents.
func hashOf(files []function) string {
	sum := sha256.New()
	for _, f := range files {
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", f.name, len(f.text), f.text)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// formulas returns the files that terasocket.told and holdings are computed by: when one changes, both are filled again.
func formulas(files []function) (list []function) {
	for _, f := range files {
		if f.name == "functions/keys.sql" || f.name == "functions/rights.sql" {
			list = append(list, f)
		}
	}
	return list
}

// read returns a file with the name of OpenTera's schema, quoted where needed.
func (s scripts) read(name, schema string) ([]byte, error) {
	file, err := fs.ReadFile(s, name)
	return bytes.ReplaceAll(file, []byte("OPENTERA."), []byte(schema+".")), err
}
