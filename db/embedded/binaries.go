package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ErrNotInstalled is wrapped by Start's error when the PostgreSQL server programs are not found.
var ErrNotInstalled = errors.New("PostgreSQL server programs (initdb, postgres) not found")

const howToInstall = `install them with one of
	apt-get install postgresql          (Debian, Ubuntu)
	dnf install postgresql-server       (Fedora, RHEL)
	apk add postgresql                  (Alpine)
	pacman -S postgresql                (Arch)
	brew install postgresql             (macOS)`

// wellKnown are the places where packages put the server programs if not in PATH.
var wellKnown = []string{
	"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
	"/usr/pgsql-*/bin",                  // postgresql.org's packages for RHEL
	"/usr/libexec/postgresql*",          // Alpine
	"/opt/homebrew/opt/postgresql*/bin", // Homebrew on Apple silicon
	"/usr/local/opt/postgresql*/bin",    // Homebrew on Intel
}

// findBinaries returns the directory that holds both initdb and postgres: dir itself if it is not empty, otherwise the first one in PATH,
// otherwise the newest version in the well-known places.
func findBinaries(dir, path string) (string, error) {
	var candidates []string
	if dir != "" {
		candidates = []string{dir}
	} else {
		candidates = filepath.SplitList(path)
		for _, pattern := range wellKnown {
			found, err := filepath.Glob(pattern)
			if err != nil {
				return "", fmt.Errorf("look for PostgreSQL in %s: %w", pattern, err)
			}
			slices.SortFunc(found, func(a, b string) int { return compareVersions(b, a) })
			candidates = append(candidates, found...)
		}
	}
	for _, c := range candidates {
		if filepath.IsAbs(c) && executable(filepath.Join(c, "initdb")) && executable(filepath.Join(c, "postgres")) {
			return c, nil
		}
	}
	where := "in PATH, " + strings.Join(wellKnown, ", ")
	if dir != "" {
		where = "in " + dir
	}
	return "", fmt.Errorf("%w %s; %s", ErrNotInstalled, where, howToInstall)
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// compareVersions orders paths by the first number in them: .../9.6/bin before .../15/bin. A path without a number ("postgresql", the
// packager's current version) comes last, as the newest.
func compareVersions(a, b string) int {
	va, vb := version(a), version(b)
	switch {
	case va < vb:
		return -1
	case va > vb:
		return 1
	}
	return strings.Compare(a, b)
}

func version(path string) float64 {
	digits := strings.TrimLeftFunc(path, func(r rune) bool { return !unicode.IsDigit(r) })
	if end := strings.IndexFunc(digits, func(r rune) bool { return !unicode.IsDigit(r) && r != '.' }); end >= 0 {
		digits = digits[:end]
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 1e6
	}
	return v
}
