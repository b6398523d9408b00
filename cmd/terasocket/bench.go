package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"terasocket/cmd/terasocket/load"
	"terasocket/db/embedded"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

type benchCmd struct {
	Clients   int           `name:"clients" default:"1000" help:"Sockets, without TLS; those above the number of users are further sockets of the same."`
	Users     int           `name:"users" default:"500" help:"Users that the sockets are of. Each hears that each other comes online."`
	People    int           `name:"people" default:"0" help:"Further users who might hear every event, and are not connected."`
	Rate      float64       `name:"rate" default:"10" help:"Events a second: one-row updates of participants, each in a transaction."`
	Duration  time.Duration `name:"duration" default:"10s" help:"How long to make them."`
	Storm     time.Duration `name:"storm" default:"0" placeholder:"DURATION" help:"Connect the sockets within this time, and make the events meanwhile, for those who are connected by then."`
	Idle      time.Duration `name:"idle" default:"0" placeholder:"DURATION" help:"Leave the connected sockets alone this long before the events, and measure what they cost meanwhile."`
	Writers   int           `name:"writers" default:"8" help:"Connections to PostgreSQL that make them."`
	Encoding  string        `name:"encoding" enum:"protobuf,json" default:"protobuf" help:"Of the sockets."`
	Directory string        `name:"directory" placeholder:"DIR" help:"Where the throw-away PostgreSQL keeps its data, with fsync on; the temporary directory if there is none."`
	Reference bool          `name:"reference" help:"Measure the bare loop as well: one goroutine that writes to each socket and does nothing else."`
	JSON      bool          `name:"json" help:"Print one JSON object."`
}

// Help is printed below the flags.
func (c *benchCmd) Help() string {
	return "It starts a PostgreSQL of its own, with OpenTera's tables and demo data, and a gateway as `terasocket serve` is, makes changes, and " +
		"measures when each client has them. Times are from the return of the COMMIT to the last client. Linux only."
}

// check rejects settings that cannot work.
func (c *benchCmd) check() error {
	switch {
	case c.Clients < 1 || c.Users < 1 || c.People < 0 || c.Writers < 1:
		return errors.New("--clients, --users and --writers must be 1 or more, --people not negative")
	case c.Storm > 0 && c.Reference:
		return errors.New("--storm and --reference exclude each other")
	case c.Rate <= 0 || c.Duration <= 0 || c.Idle < 0:
		return errors.New("--rate and --duration must be positive, --idle not negative")
	case c.Rate*c.Duration.Seconds() < 1:
		return errors.New("--rate times --duration is less than one event")
	}
	c.Users = min(c.Users, c.Clients)
	if c.Storm > 0 {
		c.Duration = c.Storm
	}
	return nil
}

// Run measures, and cleans up after itself.
func (c *benchCmd) Run(ctx context.Context, con *console) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	say := func(format string, args ...any) { // progress of what takes long
		if !c.JSON {
			_, _ = fmt.Fprintf(con.stderr, format+"\n", args...)
		}
	}
	say("Starting PostgreSQL, with %d users and 1,000 participants of one project", c.Users+c.People)
	server, err := embedded.Start(ctx, embedded.Config{ParentDir: c.Directory,
		Settings: map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_prepared_transactions": "0"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	pool, databaseURL, err := c.world(ctx, server)
	if err != nil {
		return err
	}
	defer pool.Close()
	gateway, err := startChild(ctx, con.stderr, "serve", "--database-url", databaseURL, "--plain-http", "--listen", "127.0.0.1:0", "--admin-listen", "",
		"--max-sockets", "0", "--encoding", c.Encoding, "--log-level", "error")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gateway.stop()) }()
	_, after, _ := strings.Cut(gateway.line, "ws://")
	address, _, _ := strings.Cut(after, ",")

	postgres, err := postmaster(server)
	if err != nil {
		return err
	}
	say("Connecting %d sockets", c.Clients)
	writers := &writers{pool: pool, n: c.Writers}
	result := benchResult{Clients: c.Clients, Users: c.Users, People: c.People, Rate: c.Rate, Seconds: c.Duration.Seconds(), Encoding: c.Encoding, Storm: c.Storm.Seconds()}
	if result.Gateway, err = c.measure(ctx, subject{
		address: address, targets: func(ctx context.Context, from, n int) ([]string, error) { return c.tokens(ctx, pool, from, n) },
		change: writers.change, pid: gateway.pid(), postgres: postgres, say: say,
	}); err != nil {
		return err
	}
	if c.Reference {
		say("Measuring the bare loop")
		if result.Reference, err = c.reference(ctx, con.stderr, result.Gateway.FrameBytes, say); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(result)
	}
	return result.print(con.stdout)
}

//go:embed bench.sql
var benchSQL string

// world creates the database and migrates it.
func (c *benchCmd) world(ctx context.Context, server *embedded.Server) (_ *pgxpool.Pool, url string, err error) {
	conn, url, err := newDatabase(ctx, server)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := opentera.Load(ctx, conn); err != nil {
		return nil, "", err
	}
	if _, err := conn.Exec(ctx, strings.NewReplacer(":users", fmt.Sprint(c.Users+c.People), ":like", fmt.Sprint(opentera.DemoProjectUserID)).Replace(benchSQL)); err != nil {
		return nil, "", fmt.Errorf("make users and participants: %w", err)
	}
	if err := migrations.Up(ctx, url); err != nil {
		return nil, "", err
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, "", err
	}
	config.MaxConns = int32(c.Writers + 1)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return pool, url, err
}

// tokens returns the paths to connect to, for n sockets.
func (c *benchCmd) tokens(ctx context.Context, pool *pgxpool.Pool, from, n int) (targets []string, err error) {
	err = pool.QueryRow(ctx, `SELECT array_agg('/wss/user?id=' || terasocket.create_connect_token('user', u.user_uuid) ORDER BY i)
		FROM generate_series($1::int, $1 + $2 - 1) i JOIN t_users u ON u.user_username = 'bench' || (i % $3)`, from, n, c.Users).Scan(&targets)
	if err != nil {
		return nil, fmt.Errorf("mint connect tokens: %w", err)
	}
	return targets, nil
}

// writers update participants, one row per transaction.
type writers struct {
	pool *pgxpool.Pool
	n    int
}

// change makes events until due ends, and reports when each was committed.
func (w *writers) change(ctx context.Context, due <-chan int, committed func(event int, at time.Time)) error {
	group, ctx := errgroup.WithContext(ctx)
	for range w.n {
		group.Go(func() error {
			for event := range due {
				if _, err := w.pool.Exec(ctx, "UPDATE t_participants SET participant_name = $1 WHERE participant_username = $2",
					load.Mark+load.Number(event)+" "+strings.Repeat("x", 100), fmt.Sprint("bench", event%1000)); err != nil {
					return fmt.Errorf("change a participant: %w", err)
				}
				committed(event, time.Now())
			}
			return nil
		})
	}
	return group.Wait()
}

// reference measures the bare loop, with frames of the same length.
func (c *benchCmd) reference(ctx context.Context, stderr io.Writer, frameBytes int, say func(string, ...any)) (_ *benchFigures, err error) {
	child, err := startChild(ctx, stderr, "bench-reference", "--frame-bytes", fmt.Sprint(frameBytes))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	return c.measure(ctx, subject{
		address: strings.TrimSpace(child.line),
		targets: func(_ context.Context, _, n int) ([]string, error) { return slices.Repeat([]string{"/"}, n), nil },
		change: func(_ context.Context, due <-chan int, committed func(int, time.Time)) error {
			for event := range due {
				committed(event, time.Now())
				if _, err := fmt.Fprintln(child.stdin, event); err != nil {
					return fmt.Errorf("tell the bare loop: %w", err)
				}
			}
			return nil
		},
		pid: child.pid(), say: say,
	})
}

// benchReferenceCmd is the bare loop, in a process of its own.
type benchReferenceCmd struct {
	FrameBytes int `name:"frame-bytes" default:"510" help:"Length of its frames."`
}

// Run serves until standard input ends.
func (c *benchReferenceCmd) Run(ctx context.Context, con *console) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(con.stdout, listener.Addr()); err != nil {
		return err
	}
	return load.Reference(listener, os.Stdin, c.FrameBytes)
}
