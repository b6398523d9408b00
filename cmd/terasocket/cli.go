package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	kongcompletion "github.com/jotaen/kong-completion"

	"terasocket/db"
	"terasocket/doctor"
	"terasocket/migrations"
)

// cli is the command line, one field per subcommand.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Serve the websockets of an OpenTera database."`
	Migrate migrateCmd `cmd:"" help:"Put terasocket into an OpenTera database, or take it out again."`
	Demo    demoCmd    `cmd:"" help:"Show the job on a throw-away PostgreSQL, then keep serving it."`
	Tail    tailCmd    `cmd:"" help:"Connect as a client and print one event a line."`
	Explain explainCmd `cmd:"" help:"Say whether a client may see an event, and why."`
	Audit   auditCmd   `cmd:"" help:"Say who was sent an event, or what somebody was sent: what serve --audit-deliveries has recorded."`
	Token   tokenCmd   `cmd:"" help:"Print a websocket URL that works once within 60 s."`
	Keys    keysCmd    `cmd:"" help:"List the keys that sign tokens, or make a new one."`
	Busy    busyCmd    `cmd:"" help:"List who is in a session, or take somebody out of it."`
	Doctor  doctorCmd  `cmd:"" help:"Examine an installation: what is right, and what to do about what is not."`
	Bench   benchCmd   `cmd:"" help:"Measure how fast clients hear, on a throw-away PostgreSQL."`

	Healthcheck healthcheckCmd            `cmd:"" help:"Ask the gateway of this machine whether it takes clients: for containers."`
	Completion  kongcompletion.Completion `cmd:"" help:"Print what makes bash, zsh or fish complete this program's commands and flags."`
	Version     versionCmd                `cmd:"" help:"Print the version."`

	DemoOpenTera   demoOpenTeraCmd   `cmd:"" name:"demo-opentera" help:"Show the job beside a stand-in of a running OpenTera, on a throw-away PostgreSQL and Redis, and end."`
	BenchReference benchReferenceCmd `cmd:"" hidden:"" help:"The bare loop that bench compares with."`

	PrintVersion versionFlag `name:"version" help:"Print the version."`
}

// console is where a command prints and reads its settings.
type console struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	files          map[string]string // by flag: the file that its value was read from
	origins        map[string]string // by flag: the environment variable of its value
}

const description = `The websockets of OpenTera, driven by PostgreSQL.

A flag that is not given is taken from the environment: TERASOCKET_ and the flag in capitals, so --public-url from
TERASOCKET_PUBLIC_URL; with _FILE appended, from the file of that name (for secrets). --database-url also from
DATABASE_URL.`

// newParser returns the parser. exit is called after --help and its like.
func newParser(ctx context.Context, con *console, exit func(code int)) (*kong.Kong, error) {
	return kong.New(&cli{},
		kong.Name("terasocket"),
		kong.Description(description),
		kong.Writers(con.stdout, con.stderr),
		kong.Exit(exit),
		kong.Resolvers(environment(con)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(con),
	)
}

// run is the program and returns the exit code: 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	exited := -1
	if len(args) == 0 && getenv("COMP_LINE") == "" || len(args) > 0 && args[0] == "help" {
		args = append(slices.Clone(args[min(len(args), 1):]), "--help")
	}
	con := &console{stdout, stderr, getenv, map[string]string{}, map[string]string{}}
	parser, err := newParser(ctx, con, func(code int) { exited = code })
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "terasocket:", err)
		return 2
	}
	if getenv("COMP_LINE") != "" { // called by a shell's completion
		if kongcompletion.Register(parser); exited >= 0 {
			return exited
		}
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		try, text := "terasocket", err.Error()
		var usage *kong.ParseError
		if errors.As(err, &usage) && usage.Context.Selected() != nil {
			try = usage.Context.Selected().FullPath()
			text = strings.TrimPrefix(text, usage.Context.Selected().Path()+": ") // prefix of errors from Validate
		}
		_, _ = fmt.Fprintf(stderr, "terasocket: %s\nTry: %s --help\n", plainly(text), try)
		return 2
	}
	if err := command.Run(); err != nil {
		complain(stderr, "terasocket: "+oneLine(err))
		return 1
	}
	return 0
}

// kongs rewrites kong's errors about values in plain English.
var kongs = []struct {
	said  *regexp.Regexp
	plain string
}{
	{regexp.MustCompile(`expected \S+ value but got "EOL".*`), "its value is missing"},
	{regexp.MustCompile(`expected a valid \d+ bit u?int but got (".*")`), "$1 is no whole number"},
	{regexp.MustCompile(`expected a float but got (".*") .*`), "$1 is no number"},
	{regexp.MustCompile(`expected duration but got (".*"): .*`), "$1 is no duration: write a number and its unit, such as 500ms, 5s or 24h"},
	{regexp.MustCompile(`,"" but got`), " but got"},
}

func plainly(text string) string {
	for _, k := range kongs {
		text = k.said.ReplaceAllString(text, k.plain)
	}
	return text
}

// complain prints why the program ends. It does not wait long for a reader.
func complain(w io.Writer, text string) {
	if _, isFile := w.(*os.File); !isFile { // only a file can block
		_, _ = fmt.Fprintln(w, text)
		return
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		_, _ = fmt.Fprintln(w, text)
	}()
	select {
	case <-printed:
	case <-time.After(logFlushWait):
	}
}

// oneLine puts an error on one line, with what to do about PostgreSQL's errors.
func oneLine(err error) string {
	text := doctor.OneLine(db.Unreachable(err).Error())
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return text
	}
	switch refused.Code {
	case "42501": // insufficient_privilege
		return text + ": `terasocket migrate grants ROLE` prints what serve needs; other commands are for the owner of OpenTera's tables"
	case "25006": // read_only_sql_transaction
		return text + ": name the primary if this is a read replica, else turn default_transaction_read_only off for this role and database"
	}
	return text
}

// environment resolves flags from the environment, and records the files it read.
func environment(con *console) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		names := []string{"TERASOCKET_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))}
		if flag.Name == "database-url" {
			names = append(names, "DATABASE_URL")
		}
		for _, name := range names {
			if value := con.getenv(name); value != "" {
				con.origins[flag.Name] = "environment " + name
				return value, nil
			}
			if path := con.getenv(name + "_FILE"); path != "" {
				value, err := readSecret(path)
				if err != nil {
					return nil, fmt.Errorf("read %s_FILE: %w", name, err)
				}
				con.files[flag.Name] = path
				con.origins[flag.Name] = "file " + path + " (" + name + "_FILE)"
				return value, nil
			}
		}
		return nil, nil
	})
}

// readSecret returns the content of a file without surrounding white space.
func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	return strings.TrimSpace(string(content)), err
}

// source returns a database URL; if it came from a file, it is read again each time.
func (con *console) source(flag, databaseURL string) db.Source {
	read := con.secret(flag, databaseURL)
	if con.files[flag] == "" {
		return read
	}
	return func() (string, error) {
		text, err := read()
		if err != nil {
			return "", err
		}
		return text, checkDatabaseURL("--"+flag, text)
	}
}

// secret returns the value of a flag; if it came from a file, it is read again each time.
func (con *console) secret(flag, value string) func() (string, error) {
	path := con.files[flag]
	if path == "" {
		return func() (string, error) { return value, nil }
	}
	return func() (string, error) {
		text, err := readSecret(path)
		if err != nil {
			return "", fmt.Errorf("read the file of --%s: %w", flag, err)
		}
		return text, nil
	}
}

// databaseFlags are the flags of every command that works on the database.
type databaseFlags struct {
	DatabaseURL string `name:"database-url" placeholder:"URL" help:"The OpenTera database, postgres://user:password@host:port/opentera."`
}

var errNoDatabase = errors.New("no database given: set --database-url or DATABASE_URL, for example " +
	"postgres://teraagent:tera@127.0.0.1:5432/opentera")

func (f databaseFlags) url() (string, error) {
	if f.DatabaseURL == "" {
		return "", errNoDatabase
	}
	return f.DatabaseURL, checkDatabaseURL("--database-url", f.DatabaseURL)
}

// open returns a pool for a migrated database.
func (f databaseFlags) open(ctx context.Context) (*pgxpool.Pool, error) {
	url, err := f.url()
	if err != nil {
		return nil, err
	}
	pool, err := db.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := migrations.Check(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// checkDatabaseURL does not quote a bad URL, as pgx would: it may hold a password.
func checkDatabaseURL(flag, databaseURL string) error {
	_, err := pgxpool.ParseConfig(databaseURL)
	var file *fs.PathError
	switch {
	case errors.As(err, &file): // sslrootcert, sslcert, sslkey
		return fmt.Errorf("%s: %w", flag, file)
	case err != nil:
		return fmt.Errorf("%s, or a parameter in it, cannot be read: write postgres://user:password@host:port/database, "+
			"with %%XX for special characters of the password", flag)
	}
	return nil
}

// logLevel is a slog.Level whose errors list the levels.
type logLevel slog.Level

func (l *logLevel) UnmarshalText(text []byte) error {
	if (*slog.Level)(l).UnmarshalText(text) != nil {
		return fmt.Errorf("%q is not debug, info, warn or error", text)
	}
	return nil
}

// String is the inverse of UnmarshalText.
func (l logLevel) String() string { return strings.ToLower(slog.Level(l).String()) }

// logFlags configure the log, which goes to standard error.
type logFlags struct {
	LogLevel  logLevel `name:"log-level" default:"info" help:"Log from this level on: debug, info, warn or error."`
	LogFormat string   `name:"log-format" enum:"text,json" default:"text" help:"text or json."`
}

// start returns a logger and the queue that it writes to. The caller closes the queue.
func (f logFlags) start(w io.Writer) (*slog.Logger, *logQueue) {
	options := &slog.HandlerOptions{Level: slog.Level(f.LogLevel), ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if err, ok := a.Value.Any().(error); ok {
			a.Value = slog.AnyValue(db.Unreachable(err))
		}
		return a
	}}
	lines := newLogQueue(w)
	var handler slog.Handler = slog.NewTextHandler(lines, options)
	if f.LogFormat == "json" {
		handler = slog.NewJSONHandler(lines, options)
	}
	lines.say(slog.New(handler))
	return slog.New(onceAMinute(handler)), lines
}
