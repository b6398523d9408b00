package doctor

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"terasocket/access"
)

// doctorName identifies the doctor to OpenTera and to gateways.
const doctorName = "terasocket doctor"

// ticketOpens opens a socket with the ticket from OpenTera's login, and waits until OpenTera knows about it.
func (d *doctor) ticketOpens(ctx context.Context) Finding {
	if d.websocketURL == "" {
		return skip("no ticket", "")
	}
	conn, response, err := d.dialer().DialContext(ctx, d.websocketURL, http.Header{"X-Client-Name": {doctorName}})
	switch {
	case err != nil && response != nil && response.StatusCode == http.StatusForbidden:
		return fail("a ticket of OpenTera's login is answered 403", "give serve the --redis-url that is given here, and see that the proxy leads /wss to it")
	case err != nil && response != nil:
		return fail("a ticket of OpenTera's login is answered "+response.Status, "see the gateway's /readyz and its log")
	case err != nil:
		return fail("not reached: "+cause(err), "see login: clients connect to where its URL leads")
	}
	defer func() { _ = conn.Close() }()
	kind, uuid, _ := access.ParseRef(d.As)
	known := false
	for began := time.Now(); !known && time.Since(began) < 3*time.Second && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		online, err := d.there(ctx)
		known = err == nil && online[kind.String()+":"+uuid]
	}
	d.noteAddress(ctx)
	if !known {
		return fail("a ticket of OpenTera's login opens a socket, and OpenTera does not get to know of it within 3 s",
			"see that a gateway with --redis-url runs, and its log for \"bridge\"")
	}
	return fine("a ticket of OpenTera's login opens a socket, and OpenTera knows of it")
}

// noteAddress finds the address under which the gateway has the socket of this examination.
func (d *doctor) noteAddress(ctx context.Context) {
	for began := time.Now(); !d.hasSocket && time.Since(began) < 2*time.Second && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		_ = d.owning.read(ctx, func(tx pgx.Tx) error {
			err := tx.QueryRow(ctx, "SELECT coalesce(address, '') FROM terasocket.connections WHERE client_name = $1 ORDER BY id DESC LIMIT 1", doctorName).Scan(&d.address)
			d.hasSocket = err == nil
			return err
		})
	}
}

// clientsAreKnown checks that gateways know their clients' addresses: OpenTera's own location /wss passes none on.
func (d *doctor) clientsAreKnown(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var all, unknown int
	var addresses []string
	err := tx.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE coalesce(c.address, '') = ''), coalesce(array_agg(DISTINCT c.address) FILTER (WHERE c.address <> ''), '{}')
		FROM terasocket.connections c JOIN terasocket.gateways g ON g.id = c.gateway AND g.lease_until > clock_timestamp() WHERE g.id <> $1`, elsewhere).
		Scan(&all, &unknown, &addresses)
	if err != nil {
		return Finding{}, err
	}
	if all == 0 && d.hasSocket { // the examination's own, which has ended
		if all = 1; d.address == "" {
			unknown = 1
		}
		addresses = []string{d.address}
	}
	return judgeAddresses(all, unknown, addresses), nil
}

// judgeAddresses takes the number of sockets, how many of them have no known address, and the addresses of the others.
func judgeAddresses(all, unknown int, addresses []string) Finding {
	const todo = "in nginx's location /wss: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; (deploy/opentera/terasocket.conf)"
	switch {
	case all == 0:
		return skip("no socket is open", "examine again when somebody is there, or with --redis-url and --as")
	case unknown > 0:
		return warn(fmt.Sprintf("of %d of %d sockets the gateway does not know the client's address: the proxy passes no X-Forwarded-For", unknown, all), todo)
	case len(addresses) == 1 && all > 1 && net.ParseIP(addresses[0]).IsLoopback():
		return warn(fmt.Sprintf("all %d sockets come from %s", all, addresses[0]), "if that is a proxy, the gateway takes it for the client: name it to serve as --trusted-proxies, and "+todo)
	}
	return fine("of all %d sockets the client's address is known", all)
}
