package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/db/embedded"
)

const (
	startLimit   = 60 * time.Second
	fillLimit    = 2 * time.Minute
	adminLimit   = 60 * time.Second // of one CREATE or DROP DATABASE, on a busy machine
	prefixLength = 8
)

var templateName = regexp.MustCompile(`^[a-z0-9_]{1,20}$`)

// cluster is the server of a test process and the templates on it. Except for its loans' connections it holds none between calls.
type cluster struct {
	once   sync.Once
	err    error
	server *embedded.Server // nil: DATABASE_URL
	admin  string           // URL of the database from which the others are created
	prefix string           // of the names of all databases of this process
	copies string           // the strategy by which CREATE DATABASE copies a template
	count  atomic.Int64

	mu        sync.Mutex
	templates map[string]*filled

	loans loans
}

// filled is a template, or the error of filling it.
type filled struct {
	once     sync.Once
	database string
	err      error
}

func newCluster() *cluster {
	return &cluster{templates: map[string]*filled{}, loans: loans{free: map[string][]*loan{}}}
}

// start starts the server on first use. Its error is kept: every test reports it, and only one waits for it.
func (c *cluster) start() error {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		c.prefix = "terasocket_test_" + randomWord()
		os.Getenv(chosen) // read here again, so that "go test" sees that its cached results depend on it
		if c.admin = os.Getenv("DATABASE_URL"); c.admin == "" {
			if c.server, c.err = startServer(ctx, map[string]string{"max_wal_size": "64MB"}); c.err != nil {
				return
			}
			c.admin = c.server.URL("postgres")
		}
		c.copies, c.err = copyStrategy(ctx, c.admin)
	})
	return c.err
}

// startServer starts a server, in memory if there is room, and without autovacuum: with hundreds of databases it would always run.
func startServer(ctx context.Context, settings map[string]string) (*embedded.Server, error) {
	all := map[string]string{"autovacuum": "off"}
	maps.Copy(all, settings)
	return embedded.Start(ctx, embedded.Config{ParentDir: memoryDir(), Settings: all})
}

// copyStrategy returns the option that copies the files of a template: for a small one this is faster than logging its blocks, the
// default since PostgreSQL 15.
func copyStrategy(ctx context.Context, url string) (string, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("connect to the test server: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var strategy string
	err = conn.QueryRow(ctx, `SELECT CASE WHEN current_setting('server_version_num')::int >= 150000
		THEN 'STRATEGY file_copy' ELSE '' END`).Scan(&strategy)
	return strategy, err
}

// stop removes the server, or the templates from a server that is not ours.
func (c *cluster) stop() error {
	if c.server != nil {
		return c.server.Stop()
	}
	var errs []error
	for _, f := range c.templates {
		if f.database != "" {
			errs = append(errs, c.drop(f.database))
		}
	}
	return errors.Join(errs...)
}

// clone creates a database from a template and returns its name.
func (c *cluster) clone(ctx context.Context, t Template) (string, error) {
	template, err := c.template(t)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, adminLimit) // without filling the template, which has its own limit
	defer cancel()
	name := fmt.Sprintf("%s_%d", c.prefix, c.count.Add(1))
	return name, c.exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s %s", name, template, c.copies))
}

// template fills a template on first use, and returns the name of its database.
func (c *cluster) template(t Template) (string, error) {
	if !templateName.MatchString(t.Name) {
		return "", fmt.Errorf("template %q: the name must match %s", t.Name, templateName)
	}
	c.mu.Lock()
	f := c.templates[t.Name]
	if f == nil {
		f = &filled{}
		c.templates[t.Name] = f
	}
	c.mu.Unlock()
	f.once.Do(func() {
		// Not the test's context: the template serves other tests too.
		ctx, cancel := context.WithTimeout(context.Background(), fillLimit)
		defer cancel()
		f.database = fmt.Sprintf("%s_t_%s", c.prefix, t.Name)
		from := "template0"
		if t.From != nil {
			if from, f.err = c.template(*t.From); f.err != nil {
				return
			}
			from += " " + c.copies
		}
		if err := c.fill(ctx, f.database, from, t.Fill); err != nil {
			f.err = fmt.Errorf("template %s: %w", t.Name, err)
		}
	})
	return f.database, f.err
}

func (c *cluster) fill(ctx context.Context, database, from string, fill func(context.Context, string) error) error {
	if err := c.exec(ctx, "CREATE DATABASE "+database+" TEMPLATE "+from); err != nil {
		return err
	}
	if fill != nil {
		if err := fill(ctx, c.url(database)); err != nil {
			return err
		}
	}
	if err := analyze(ctx, c.url(database)); err != nil {
		return err
	}
	// A connection, even one that is closing, would delay the clones.
	if err := c.exec(ctx, "ALTER DATABASE "+database+" ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	return c.exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+database+"'")
}

// analyze gives the clones the planner statistics that a database in use has.
func analyze(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "ANALYZE")
	return err
}

func (c *cluster) drop(database string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	return c.exec(ctx, "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)")
}

func (c *cluster) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, c.admin)
	if err != nil {
		return fmt.Errorf("connect to the test server: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// url returns the admin URL with another database.
func (c *cluster) url(database string) string {
	u, err := url.Parse(c.admin)
	if err != nil || u.Scheme == "" {
		return c.admin + " dbname=" + database // keyword/value form: the last one wins
	}
	u.Path = "/" + database
	return u.String()
}

func randomWord() string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	word := make([]byte, prefixLength)
	rand.Read(word)
	for i, b := range word {
		word[i] = letters[int(b)%len(letters)]
	}
	return string(word)
}
