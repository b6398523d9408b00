package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/migrations"
)

// serverChecks check the kind of server, and its settings for our sessions.
func (d *doctor) serverChecks() []check {
	return []check{
		{name: "database", ask: d.reach},
		{name: "server-version", needs: []string{"database"}, ask: d.serving.asks(d.serverVersion)},
		{name: "primary", needs: []string{"database"}, ask: d.serving.asks(isPrimary)},
		{name: "encoding", needs: []string{"database"}, ask: d.serving.asks(encodingIsUTF8)},
		{name: "time-outs", needs: []string{"database"}, ask: d.timeouts},
		{name: "clock", needs: []string{"database"}, ask: d.clock},
	}
}

func (d *doctor) reach(ctx context.Context) Finding {
	for _, p := range d.patients() {
		if _, err := p.open(ctx); err != nil {
			if errors.Is(err, errNoURL) {
				return failWith(err)
			}
			return fail(err.Error(), "see that the server runs, is reached from here, and lets this role in (pg_hba.conf, password)")
		}
	}
	config := d.serving.conn.Config()
	return fine("%s on %s port %d, as %s", config.Database, config.Host, config.Port, config.User)
}

func (d *doctor) serverVersion(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var number int
	var text string
	err := tx.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('server_version')").Scan(&number, &text)
	return judgeVersion(number, text, d.now()), err
}

// judgeVersion assumes that PostgreSQL 13 was supported until November 2025, and each later version a year longer.
func judgeVersion(number int, text string, now time.Time) Finding {
	major := number / 10_000
	end := time.Date(2012+major, time.November, 15, 0, 0, 0, 0, time.UTC)
	switch {
	case major < 13:
		return fail("PostgreSQL "+text, "terasocket needs PostgreSQL 13 or later")
	case now.After(end):
		return warn(fmt.Sprintf("PostgreSQL %s, without security fixes since %s", text, end.Format("January 2006")), "upgrade the server")
	}
	return fine("PostgreSQL %s", text)
}

func isPrimary(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var isReplica, isReadOnly bool
	err := tx.QueryRow(ctx, "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool").Scan(&isReplica, &isReadOnly)
	switch {
	case isReplica:
		return fail("a read replica", "name the primary in --database-url: a gateway writes, and a replica cannot LISTEN"), err
	case isReadOnly:
		return fail("a primary, but default_transaction_read_only is on", "turn it off for this role or database: a gateway writes"), err
	case err != nil:
		return Finding{}, err
	}
	name, err := migrations.Subscription(ctx, tx)
	if name != "" {
		return fail("a subscriber of logical replication (subscription "+name+"): what it receives fires no trigger, and is announced nowhere",
			"name the publisher in --database-url. When this database is to take its place, stop the gateways of the publisher, then ALTER SUBSCRIPTION "+
				pgx.Identifier{name}.Sanitize()+" DISABLE"), err
	}
	return fine("primary"), err
}

func encodingIsUTF8(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var encoding string
	if err := tx.QueryRow(ctx, "SELECT current_setting('server_encoding')").Scan(&encoding); err != nil {
		return Finding{}, err
	}
	if encoding != "UTF8" {
		return fail(encoding, "move the database into one with ENCODING 'UTF8': names in events can otherwise not be told"), nil
	}
	return fine("%s", encoding), nil
}

// hurtful finds time-outs that interrupt a gateway, with the minimum of each; 0 is off. A gateway pings its LISTEN connection
// every 10 s; catch-up statements take seconds.
const hurtful = `SELECT v.name || ' is ' || current_setting(v.name, true)
FROM   (VALUES ('statement_timeout', interval '10 s'), ('transaction_timeout', interval '10 s'), ('lock_timeout', interval '1 s'),
               ('idle_in_transaction_session_timeout', interval '10 s'), ('idle_session_timeout', interval '30 s')) v (name, least)
WHERE  current_setting(v.name, true)::interval BETWEEN interval '1 us' AND v.least - interval '1 us'`

// timeouts checks the settings of the roles of both addresses that serve uses.
func (d *doctor) timeouts(ctx context.Context) Finding {
	var short []string
	for _, p := range d.patients() {
		if p == d.owning && p != d.serving {
			continue // a migration sets its own
		}
		err := p.read(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, hurtful)
			if err != nil {
				return err
			}
			some, err := pgx.CollectRows(rows, pgx.RowTo[string])
			for _, s := range some {
				short = append(short, s+" for "+p.flag)
			}
			return err
		})
		if err != nil {
			return unanswered(err)
		}
	}
	if len(short) > 0 {
		return warn(strings.Join(short, ", "), "the gateway's sessions are cut off by these: ALTER ROLE ... SET them to 0 for its role")
	}
	return fine("none that would cut a gateway off")
}

// clock compares this machine's clock with the server's. The server times connect tokens and leases, this machine service
// tokens and certificates.
func (d *doctor) clock(ctx context.Context) Finding {
	conn, err := d.serving.open(ctx)
	if err != nil {
		return unanswered(err)
	}
	var skew, trip time.Duration
	for i := range 3 {
		var theirs time.Time
		sent := d.now()
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&theirs); err != nil {
			return unanswered(err)
		}
		t := d.now().Sub(sent)
		if i == 0 || t < trip {
			skew, trip = theirs.Sub(sent.Add(t/2)), t
		}
	}
	return judgeSkew(skew, trip)
}

// judgeSkew allows for half a round trip.
func judgeSkew(skew, trip time.Duration) Finding {
	off := max(skew.Abs()-trip/2, 0)
	found := fmt.Sprintf("the server's is %s ahead of this machine's", skew.Round(time.Millisecond))
	if skew < 0 {
		found = fmt.Sprintf("the server's is %s behind this machine's", skew.Abs().Round(time.Millisecond))
	}
	const todo = "set both machines' clocks by NTP: tokens are good for a time only"
	switch {
	case off > 30*time.Second:
		return fail(found, todo)
	case off > time.Second:
		return warn(found, todo)
	}
	return fine("within %s of the server's", (skew.Abs() + trip/2 + time.Millisecond).Round(time.Millisecond))
}
