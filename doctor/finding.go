package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// Status is the result of a check.
type Status string

// FAIL is upper case so that it stands out. Skip means that the check could not run, or was not asked for.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "FAIL"
	Skip Status = "skip"
)

// Finding is the result of one check.
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Todo   string `json:"todo"` // "" = nothing. What follows "run: " can be pasted into psql
	Waits  string `json:"-"`    // of a check that was not run: the check that must pass first
}

// String returns the line of the report.
func (f Finding) String() string {
	line := fmt.Sprintf("%-4s  %-18s  %s", f.Status, f.Name, f.Found)
	if f.Todo != "" {
		line += " - " + f.Todo
	}
	return line
}

// oneLine removes line breaks that libraries put into errors.
func (f Finding) oneLine() Finding {
	f.Found, f.Todo = OneLine(f.Found), OneLine(f.Todo)
	return f
}

// OneLine puts a text on one line; of equal consecutive lines it keeps one.
func OneLine(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(slices.Compact(lines), " ") // pgx reports both its attempts, with TLS and without
}

// waits is the finding of a check that does not run before another has passed.
func waits(name string) Finding {
	return Finding{Status: Skip, Found: "not asked: " + name + " must be right first", Waits: name}
}

func fine(format string, args ...any) Finding {
	return Finding{Status: OK, Found: fmt.Sprintf(format, args...)}
}
func warn(found, todo string) Finding { return Finding{Status: Warn, Found: found, Todo: todo} }
func fail(found, todo string) Finding { return Finding{Status: Fail, Found: found, Todo: todo} }
func skip(found, todo string) Finding { return Finding{Status: Skip, Found: found, Todo: todo} }

// failWith splits an error into what is wrong and, after the colon, what to do.
func failWith(err error) Finding {
	found, todo, _ := strings.Cut(err.Error(), ": ")
	return fail(found, todo)
}
