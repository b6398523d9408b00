package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"terasocket/access"
	"terasocket/api"
	"terasocket/db"
	"terasocket/migrations"
)

type tokenCmd struct {
	databaseFlags
	PublicURL string `name:"public-url" default:"wss://localhost:4050" placeholder:"URL" help:"What comes before /wss/...: ${default}."`
	JSON      bool   `name:"json" help:"Print one JSON object."`
	Kind      string `arg:"" enum:"user,participant,device" help:"user, participant or device."`
	UUID      string `arg:"" name:"uuid" help:"Its UUID."`
}

// Validate refuses what is no address of a gateway.
func (c *tokenCmd) Validate() error { return checkServer("--public-url", c.PublicURL) }

// Run prints one line, a websocket URL that works once within 60 s.
func (c *tokenCmd) Run(ctx context.Context, con *console) error {
	kind, err := access.ParseKind(c.Kind)
	if err != nil {
		return err
	}
	token, err := mint(ctx, c.databaseFlags, kind, c.UUID)
	if err != nil {
		return err
	}
	url := api.WebsocketURL(c.PublicURL, kind, token)
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(map[string]string{"websocket_url": url})
	}
	_, err = fmt.Fprintln(con.stdout, url)
	return err
}

// unknownPrincipal is an access.ErrUnknown in words for operators.
type unknownPrincipal struct{ error }

func (unknownPrincipal) Unwrap() error { return access.ErrUnknown }

// mint makes a connect token through the database.
func mint(ctx context.Context, flags databaseFlags, kind access.Kind, uuid string) (string, error) {
	url, err := flags.url()
	if err != nil {
		return "", err
	}
	pool, err := db.Open(ctx, url)
	if err != nil {
		return "", err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		return "", err
	}
	token, err := (&access.Tokens{Pool: pool}).Create(ctx, kind, uuid)
	if errors.Is(err, access.ErrUnknown) {
		return "", unknownPrincipal{fmt.Errorf("there is no %s %s that may connect: it must exist, be enabled and not be deleted", kind, uuid)}
	}
	return token, err
}
