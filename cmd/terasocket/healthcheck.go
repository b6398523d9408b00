package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

type healthcheckCmd struct {
	AdminListen string        `name:"admin-listen" default:"127.0.0.1:4051" help:"Where serve answers about its health: the value of its --admin-listen."`
	Live        bool          `name:"live" help:"Ask whether the process runs (/healthz), instead of whether it takes clients (/readyz)."`
	Timeout     time.Duration `name:"timeout" default:"5s" help:"How long to wait for the answer."`
}

// Run asks the gateway on this machine for its health, and prints the answer.
func (c *healthcheckCmd) Run(ctx context.Context, con *console) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	path := "/readyz"
	if c.Live {
		path = "/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return fmt.Errorf("--admin-listen: %w", err)
	}
	transport := &http.Transport{} // no proxy from the environment
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("no answer of the gateway: does `terasocket serve` run with --admin-listen %s? %w", c.AdminListen, err)
	}
	defer func() { _ = answer.Body.Close() }()
	line, err := bufio.NewReader(io.LimitReader(answer.Body, 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, answer.Status, line)
	}
	_, err = io.WriteString(con.stdout, line)
	return err
}

// address returns one that can be dialled: for a wildcard address, the loopback one.
func (c *healthcheckCmd) address() (string, error) {
	host, port, err := net.SplitHostPort(c.AdminListen)
	if err != nil {
		return "", errors.New("--admin-listen must be host:port, as serve has it; a gateway with an empty one cannot be asked")
	}
	switch ip := net.ParseIP(host); {
	case host == "":
		host = "localhost"
	case ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip != nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}
