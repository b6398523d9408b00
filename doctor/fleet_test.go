package doctor

import "testing"

func TestConnections(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("connections").must(t, OK, "up to 9 for each gateway")
	i.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 5', current_database()); END $$")
	i.find("connections").must(t, Fail, "5 allowed")
	i.exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT -1', current_database()); END $$")
	i.DatabaseURL += "&pool_max_conns=1000"
	i.find("connections").must(t, Fail, "up to 1001", "max_connections")
	judgeConnections(100, 82, 2, 9).must(t, OK, "of which there are 2")
	judgeConnections(100, 83, 2, 9).must(t, Fail)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("keys").must(t, OK, "when it is first needed")
	i.exec("SELECT terasocket.service_token_key()")
	i.find("keys").must(t, OK, "of services and devices")
	i.exec("DELETE FROM t_server_settings WHERE server_settings_name = 'TokenEncryptionKey'")
	i.find("keys").must(t, Warn, "TokenEncryptionKey")
}

func TestGateways(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("gateways").must(t, Warn, "none runs", "terasocket serve")
	i.exec(`INSERT INTO terasocket.gateways (name, lease_until) VALUES ('dead', now() - interval '1 hour')`)
	i.find("gateways").must(t, Warn, "none runs", "dead with 0 sockets")
	i.exec(`INSERT INTO terasocket.gateways (name, lease_until) VALUES ('live', now() + interval '1 hour')`)
	i.exec(`SELECT terasocket.connected(id, 'user', 1, 'x', 'y') FROM terasocket.gateways WHERE name = 'live'`)
	i.find("gateways").must(t, Warn, "live with 1 sockets; died", "presence not swept")
	i.exec(`DELETE FROM terasocket.gateways WHERE name = 'dead'`)
	i.find("gateways").must(t, OK, "live with 1 sockets")
}

func TestFiles(t *testing.T) {
	t.Parallel()
	judgeFiles(1024).must(t, Warn, "LimitNOFILE")
	judgeFiles(1<<20).must(t, OK)
}

func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]Status{"10.0.0.1": OK, "10.0.0.0/8": OK, "0.0.0.0/0": Warn, "::/0": Warn, "nginx": Fail, "": Skip} {
		d := newDoctor(Config{TrustedProxies: []string{list}})
		if list == "" {
			d.TrustedProxies = nil
		}
		f := ask(t, d, "trusted-proxies")
		f.must(t, want)
	}
	for list, want := range map[string]Status{"10.0.0.1": OK, " 10.0.0.1/32": OK, "10.0.0.0/8": Warn, "fd00::/8": Warn} {
		ask(t, newDoctor(Config{TrustedProxies: []string{list}, ProxyCertificates: true}), "trusted-proxies").must(t, want)
	}
}

func TestBusyForEver(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("busy").must(t, OK)
	i.exec("INSERT INTO terasocket.busy VALUES ('user', 1, 'feedbeef', now() - interval '1 hour')")
	i.find("busy").must(t, OK)
	i.exec("INSERT INTO terasocket.busy SELECT 'participant', 1, session_uuid, now() - interval '13 hours' FROM t_sessions WHERE id_session = 1; " +
		"UPDATE terasocket.busy SET since = now() - interval '14 hours' WHERE kind = 'user'")
	i.find("busy").must(t, Warn, "in session feedbeef, which OpenTera does not know, participant ", "terasocket busy end session UUID")
}

// Behind a second proxy, clients do not reach the server by the name that the first one passes on.
func TestLoginURL(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("login-url").must(t, Skip)
	i.exec("SELECT terasocket.gateway_register('older', '1 hour')")
	i.find("login-url").must(t, Skip)
	i.exec("SELECT terasocket.gateway_register('plain', '1 hour', '')")
	i.find("login-url").must(t, Warn, "serves without --public-url: plain.", "inner")
	i.exec("DELETE FROM terasocket.gateways; SELECT terasocket.gateway_register('right', '1 hour', 'wss://tera.example/')")
	i.find("login-url").must(t, OK)
	i.PublicURL = "wss://TERA.example"
	ask(t, newDoctor(i.Config), "login-url").must(t, OK)
	i.PublicURL = "wss://tera.example:8443"
	ask(t, newDoctor(i.Config), "login-url").must(t, Warn, "right gives wss://tera.example/")
}
