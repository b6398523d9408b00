package access_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"terasocket/access"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	d := gateways[0]
	addresses := [2]*access.Addresses{{Pool: gateways[0].pool}, {Pool: gateways[1].pool}}
	fail := func(n int, addr string) {
		t.Helper()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if err := addresses[i%2].Failed(t.Context(), addr); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	wait := func(addr string) time.Duration {
		t.Helper()
		w, err := addresses[1].Wait(t.Context(), addr)
		if err != nil {
			t.Error(err)
		}
		return w
	}
	// sixty at once; the next failures must wait
	for _, c := range []struct {
		addr           string
		same, isOthers []string
	}{
		{"192.0.2.1", []string{"::ffff:192.0.2.1"}, []string{"192.0.2.2", "2001:db8::1"}},
		{"2001:db8:1:2::1", []string{"2001:db8:1:2:ffff::9", "2001:db8:1:2::1%eth0"}, []string{"2001:db8:1:3::1", "192.0.2.2"}},
	} {
		if w := wait(c.addr); w != 0 {
			t.Errorf("%s waits at first: %v", c.addr, w)
		}
		fail(50, c.addr)
		if w := wait(c.addr); w != 0 {
			t.Errorf("%s waits after 50 failures: %v", c.addr, w)
		}
		fail(60, c.same[0])
		for _, addr := range append(c.same, c.addr) {
			if w := wait(addr); w < 20*time.Second || w > time.Minute {
				t.Errorf("%s waits after 110 failures: %v", addr, w)
			}
		}
		for _, addr := range c.isOthers {
			if w := wait(addr); w != 0 {
				t.Errorf("%s waits because of %s: %v", addr, c.addr, w)
			}
		}
		fail(400, c.addr)
		if w := wait(c.addr); w > 122*time.Second {
			t.Errorf("%s is locked out for %v", c.addr, w)
		}
		// by the clock: one attempt is regained each second
		d.do("UPDATE terasocket.address_failures SET until = clock_timestamp() + interval '59 seconds'")
		if w := wait(c.addr); w != 0 {
			t.Errorf("%s waits though there is one left: %v", c.addr, w)
		}
		fail(3, c.addr)
		if w := wait(c.addr); w == 0 {
			t.Errorf("%s does not wait", c.addr)
		}
	}
	// a client without a known address is never limited, and leaves no row
	n := asked[int](d, "SELECT count(*) FROM terasocket.address_failures")
	for _, addr := range []string{"", "x", "192.0.2.1:80", "\x00", "\xff", "999.1.1.1"} {
		fail(100, addr)
		if w := wait(addr); w != 0 {
			t.Errorf("%q waits %v", addr, w)
		}
	}
	if asked[int](d, "SELECT count(*) FROM terasocket.address_failures") != n {
		t.Error("no addresses are kept")
	}
	d.do("UPDATE terasocket.address_failures SET until = clock_timestamp() WHERE address = '192.0.2.1'")
	if n, err := (&access.Tokens{Pool: d.pool}).Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := addresses[0].Wait(ended, "192.0.2.1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := addresses[0].Failed(ended, "192.0.2.1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestClientVersions(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	versions := &access.ClientVersions{Pool: d.pool}
	set := func(text string) {
		d.do("UPDATE t_server_settings SET server_settings_value = $1 WHERE server_settings_name = 'ServerVersions'", text)
	}
	if c, err := versions.Client(t.Context(), "OpenTeraPlus"); c != nil || err != nil {
		t.Errorf("no clients: %+v, %v", c, err)
	}
	set(`{"version_string": "1", "clients": {"Other": {"client_name": "Other", "client_version": "9"}, "OpenTeraPlus": {"client_name": "OpenTeraPlus", "client_description": "é", "client_version": "1.2.3",
		"client_documentation_url": "https://x", "client_windows_download_url": null, "new": 1}, "Bare": {"client_version": "1"}, "None": null}}`)
	c, err := versions.Client(t.Context(), "OpenTeraPlus")
	if err != nil || c == nil || c.Name != "OpenTeraPlus" || c.Version != "1.2.3" || *c.Description != "é" || *c.DocumentationURL != "https://x" || c.WindowsDownloadURL != nil || c.MacDownloadURL != nil {
		t.Errorf("%+v, %v", c, err)
	}
	if len(keysOf(t, c)) != 7 {
		t.Errorf("keys %v", keysOf(t, c))
	}
	if c, err := versions.Client(t.Context(), "Bare"); err != nil || c == nil || c.Name != "Bare" || c.Version != "1" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, name := range []string{"", "openteraplus", "\x00", "x", "None"} {
		if c, err := versions.Client(t.Context(), name); c != nil || err != nil {
			t.Errorf("%q: %+v, %v", name, c, err)
		}
	}
	for _, bad := range []string{"", "x", `{"clients": 5}`, `[]`, `{"clients": [{"client_name": "OpenTeraPlus"}]}`, `{"clients": {"OpenTeraPlus": {"client_version": 1}}}`} {
		set(bad)
		if c, err := versions.Client(t.Context(), "OpenTeraPlus"); c != nil || err == nil {
			t.Errorf("%q: %+v", bad, c)
		}
	}
	d.do("DELETE FROM t_server_settings WHERE server_settings_name = 'ServerVersions'")
	if c, err := versions.Client(t.Context(), "OpenTeraPlus"); c != nil || err != nil {
		t.Errorf("no setting: %+v, %v", c, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := versions.Client(ended, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
