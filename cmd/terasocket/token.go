package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/api"
)

type tokenCmd struct {
	databaseFlags
	PublicURL string `name:"public-url" placeholder:"URL" help:"What comes before /wss/.... Default: the --public-url of this database's gateways, else wss://localhost:4050."`
	JSON      bool   `name:"json" help:"Print one JSON object."`
	Kind      string `arg:"" enum:"user,participant,device" help:"user, participant or device."`
	UUID      string `arg:"" name:"uuid" help:"Its UUID."`
}

func (c *tokenCmd) Validate() error {
	if c.PublicURL == "" {
		return nil
	}
	return checkServer("--public-url", c.PublicURL)
}

// Run prints one line, a websocket URL that works once within 60 s.
func (c *tokenCmd) Run(ctx context.Context, con *console) error {
	kind, err := access.ParseKind(c.Kind)
	if err != nil {
		return err
	}
	token, fleet, err := mint(ctx, c.databaseFlags, kind, c.UUID)
	if err != nil {
		return err
	}
	url := api.WebsocketURL(cmp.Or(c.PublicURL, fleet.url), kind, token)
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(map[string]string{"websocket_url": url})
	}
	_, err = fmt.Fprintln(con.stdout, url)
	return err
}

// unknownPrincipal is an access.ErrUnknown with a text for operators.
type unknownPrincipal struct{ error }

func (unknownPrincipal) Unwrap() error { return access.ErrUnknown }

// defaultServer is the gateway's address if none is given.
const defaultServer = "wss://localhost:4050"

// fleet describes the running gateways of a database.
type fleet struct {
	url   string   // --public-url of all of them if equal, otherwise defaultServer
	names []string // with the addresses that they listen on
}

// fleetOf queries the database. A role that may not gets the default.
func fleetOf(ctx context.Context, pool *pgxpool.Pool) fleet {
	f := fleet{url: defaultServer}
	var urls []string
	err := pool.QueryRow(ctx, `SELECT coalesce(array_agg(name ORDER BY name), '{}'), coalesce(array_agg(DISTINCT public_url) FILTER (WHERE public_url <> ''), '{}')
		FROM terasocket.gateways WHERE lease_until > clock_timestamp() AND id <> '00000000-0000-0000-0000-000000000000'`).Scan(&f.names, &urls) // that is OpenTera
	if err == nil && len(urls) == 1 {
		f.url = strings.TrimSuffix(urls[0], "/")
	}
	return f
}

// mint creates a connect token through the database.
func mint(ctx context.Context, flags databaseFlags, kind access.Kind, uuid string) (string, fleet, error) {
	pool, err := flags.open(ctx)
	if err != nil {
		return "", fleet{}, err
	}
	defer pool.Close()
	token, err := (&access.Tokens{Pool: pool}).Create(ctx, kind, uuid)
	if errors.Is(err, access.ErrUnknown) {
		return "", fleet{}, unknownPrincipal{fmt.Errorf("there is no %s %s that may connect: it must exist, be enabled and not be deleted", kind, uuid)}
	}
	return token, fleetOf(ctx, pool), err
}
