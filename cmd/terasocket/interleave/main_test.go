package interleave

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

//go:embed testdata/world.sql
var worldSQL string

func TestMain(m *testing.M) { os.Exit(gatewaytest.Main(m)) }

// world is a database with the small OpenTera and our migrations. Building the program takes time that is not the template's.
func world() dbtest.Template {
	path, err := gatewaytest.Program()
	return dbtest.Template{Name: "world", Fill: func(ctx context.Context, url string) error {
		if err != nil {
			return err
		}
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if _, err := conn.PgConn().Exec(ctx, opentera.Schema()+worldSQL).ReadAll(); err != nil {
			return fmt.Errorf("load the world: %w", err)
		}
		migrate := exec.CommandContext(ctx, path, "migrate", "up")
		migrate.Env = append(os.Environ(), "DATABASE_URL="+url)
		if out, err := migrate.CombinedOutput(); err != nil {
			return fmt.Errorf("migrate up: %w: %s", err, out)
		}
		return nil
	}}
}
