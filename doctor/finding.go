package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Status is how a check went.
type Status string

// Fail is written so that it stands out. What is skipped could not be asked, or was not asked for.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "FAIL"
	Skip Status = "skip"
)

// Finding is what one check has found.
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Todo   string `json:"todo"` // "" = nothing. What follows "run: " can be pasted into psql
	Waits  string `json:"-"`    // of one that was not asked: the check that must be right first
}

// String gives the line of the report.
func (f Finding) String() string {
	line := fmt.Sprintf("%-4s  %-18s  %s", f.Status, f.Name, f.Found)
	if f.Todo != "" {
		line += " - " + f.Todo
	}
	return line
}

// oneLine takes out what a library puts into its errors.
func (f Finding) oneLine() Finding {
	f.Found, f.Todo = OneLine(f.Found), OneLine(f.Todo)
	return f
}

// OneLine is a text in one line; of lines that follow each other and say the same, one is left.
func OneLine(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(slices.Compact(lines), " ") // pgx tells of both its attempts, with TLS and without
}

// waits is the finding of a check that is not asked before another is right.
func waits(name string) Finding {
	return Finding{Status: Skip, Found: "not asked: " + name + " must be right first", Waits: name}
}

func fine(format string, args ...any) Finding {
	return Finding{Status: OK, Found: fmt.Sprintf(format, args...)}
}
func warn(found, todo string) Finding { return Finding{Status: Warn, Found: found, Todo: todo} }
func fail(found, todo string) Finding { return Finding{Status: Fail, Found: found, Todo: todo} }
func skip(found, todo string) Finding { return Finding{Status: Skip, Found: found, Todo: todo} }

// failWith splits an error that says what is wrong and, behind a colon, what to do.
func failWith(err error) Finding {
	found, todo, _ := strings.Cut(err.Error(), ": ")
	return fail(found, todo)
}
