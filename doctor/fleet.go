package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/api"
)

// fleetChecks check the gateways: those that run, and what one needs here.
func (d *doctor) fleetChecks() []check {
	return []check{
		{name: "connections", needs: []string{"database"}, ask: d.serving.asks(d.connectionsSuffice)},
		{name: "keys", needs: []string{"migrations"}, ask: d.owning.asks(keysAreThere)},
		{name: "gateways", needs: []string{"migrations"}, ask: d.owning.asks(gatewaysLive)},
		{name: "busy", needs: []string{"migrations"}, ask: d.owning.asks(d.nobodyIsBusyForEver)},
		{name: "files", ask: filesSuffice},
		{name: "trusted-proxies", ask: d.proxiesAreNarrow},
	}
}

// connectionsSuffice: a gateway takes a pool (as db.Open sizes it) and a listener. Of others' sessions a role may see only that
// they exist.
func (d *doctor) connectionsSuffice(ctx context.Context, tx pgx.Tx) (Finding, error) {
	config, err := pgxpool.ParseConfig(d.DatabaseURL)
	if err != nil {
		return Finding{}, errUnreadable
	}
	var most, others, gateways int
	err = tx.QueryRow(ctx, `SELECT least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
		             - coalesce(current_setting('reserved_connections', true), '0')::int,
		         (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
		         (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)),
		       count(*) FILTER (WHERE coalesce(application_name, '') NOT LIKE 'terasocket%'), count(*) FILTER (WHERE application_name = 'terasocket listener')
		FROM   pg_stat_activity WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'`).Scan(&most, &others, &gateways)
	return judgeConnections(most, others, max(gateways, 1), int(max(config.MaxConns, 8))+1), err
}

func judgeConnections(most, others, gateways, each int) Finding {
	found := fmt.Sprintf("%d allowed, %d used by others, up to %d for each gateway", most, others, each)
	if gateways > 1 {
		found += fmt.Sprintf(", of which there are %d", gateways)
	}
	if most-others < gateways*each {
		return fail(found, "raise max_connections (or the limit of the role or database), or set pool_max_conns in --database-url of others")
	}
	return fine("%s", found)
}

// keysAreThere checks that the signing keys exist, without reading them.
func keysAreThere(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var hasService, hasDevice bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM terasocket.signing_keys WHERE name = 'service'),
		EXISTS (SELECT FROM t_server_settings WHERE server_settings_name = 'TokenEncryptionKey' AND server_settings_value <> '')`).Scan(&hasService, &hasDevice)
	switch {
	case err != nil:
		return Finding{}, err
	case !hasDevice:
		return warn("OpenTera's server setting TokenEncryptionKey is missing: no device is let in by its token", "start OpenTera once: it makes the setting"), nil
	case !hasService:
		return fine("of devices; the one of services is made when it is first needed"), nil
	}
	return fine("of services and devices"), nil
}

func gatewaysLive(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, `SELECT g.name, g.lease_until > clock_timestamp(), count(c.id) FROM terasocket.gateways g
		LEFT JOIN terasocket.connections c ON c.gateway = g.id WHERE g.id <> $1 GROUP BY g.id ORDER BY g.name`, elsewhere)
	if err != nil {
		return Finding{}, err
	}
	var live, dead []string
	var name string
	var isLive bool
	var sockets int64
	if _, err = pgx.ForEachRow(rows, []any{&name, &isLive, &sockets}, func() error {
		line := fmt.Sprintf("%s with %d sockets", name, sockets)
		if isLive {
			live = append(live, line)
		} else {
			dead = append(dead, line)
		}
		return nil
	}); err != nil {
		return Finding{}, err
	}
	switch {
	case len(live) == 0 && len(dead) == 0:
		return warn("none runs", "start `terasocket serve`"), nil
	case len(live) == 0:
		return warn("none runs; died without a word: "+strings.Join(dead, ", "), "start `terasocket serve`: it announces their clients offline"), nil
	case len(dead) > 0:
		return warn(strings.Join(live, ", ")+"; died without a word: "+strings.Join(dead, ", "),
			"the others announce their clients offline within seconds; when this stays, see their logs for \"presence not swept\""), nil
	}
	return fine("%s", strings.Join(live, ", ")), nil
}

// filesNeeded is enough for 10,000 sockets and a gateway's other files.
const filesNeeded = 10_000 + 200

// filesSuffice checks the limit of this process. Go raises the soft limit to the hard one.
func filesSuffice(context.Context) Finding {
	limit, isKnown := openFiles()
	if !isKnown {
		return skip("this system has no limit that can be asked", "")
	}
	return judgeFiles(limit)
}

func judgeFiles(limit uint64) Finding {
	const where = " open files for a process started from here; a systemd unit has its own LimitNOFILE"
	if limit < filesNeeded {
		return warn(fmt.Sprintf("%d", limit)+where, fmt.Sprintf("for 10,000 sockets allow %d: ulimit -Hn, or LimitNOFILE= in the unit", filesNeeded))
	}
	return fine("%d%s", limit, where)
}

func (d *doctor) proxiesAreNarrow(context.Context) Finding {
	if len(d.TrustedProxies) == 0 {
		return skip("none given", "behind a proxy give its address as --trusted-proxies: else all clients count as one")
	}
	if _, err := api.ParseProxies(d.TrustedProxies); err != nil {
		return fail(err.Error(), "give addresses or networks, as 10.0.0.0/8")
	}
	for _, p := range d.TrustedProxies {
		if strings.HasSuffix(strings.TrimSpace(p), "/0") {
			return warn(p+" trusts everybody", "name the proxy alone: any client could claim another's address")
		}
		if prefix, err := netip.ParsePrefix(strings.TrimSpace(p)); err == nil && d.ProxyCertificates && !prefix.IsSingleIP() {
			return warn("whoever is in "+p+" can pass for any device", "list the proxy only, or remove --proxy-certificates if no device logs in with a certificate through it")
		}
	}
	return fine("%s", strings.Join(d.TrustedProxies, ", "))
}
