package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestClientAddr(t *testing.T) {
	t.Parallel()
	proxies, err := ParseProxies([]string{"10.0.0.0/8", " 127.0.0.1", "", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"203.0.113.9"}, "192.0.2.1"}, // spoofed: not from a trusted proxy
		{"10.1.2.3:5", nil, ""},
		{"10.1.2.3:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"10.1.2.3:5", []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9"}, // the first is the client's own claim
		{"10.1.2.3:5", []string{"203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		{"10.1.2.3:5", []string{"203.0.113.9", "10.9.9.9"}, "203.0.113.9"},
		{"10.1.2.3:5", []string{"203.0.113.9, rubbish"}, ""},
		{"10.1.2.3:5", []string{"10.1.1.1"}, ""},
		{"10.1.2.3:5", []string{"203.0.113.9:5678"}, "203.0.113.9"}, // some proxies add the port
		{"10.1.2.3:5", []string{"203.0.113.9:5678, 10.9.9.9:1"}, "203.0.113.9"},
		{"10.1.2.3:5", []string{"[2001:db8::1]:5678"}, "2001:db8::1"},
		{"10.1.2.3:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"10.1.2.3:5", []string{"2001:db8::1%eth0"}, "2001:db8::1"},
		{"10.1.2.3:5", []string{"[203.0.113.9"}, ""},
		{"10.1.2.3:5", []string{"203.0.113.9:x"}, ""},
		{"[::ffff:127.0.0.1]:5", []string{"203.0.113.9"}, "203.0.113.9"},
		{"[::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"@", nil, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = test.peer
		for _, f := range test.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := proxies.ClientAddr(r); got != test.want {
			t.Errorf("%s with %q is %q, want %q", test.peer, test.forwarded, got, test.want)
		}
	}
}

// A proxy is recognised by its IPv4-mapped address too, on a dual-stack socket.
func TestMappedProxies(t *testing.T) {
	t.Parallel()
	for _, list := range []string{"::ffff:10.0.0.1", "::ffff:10.0.0.0/104"} {
		proxies, err := ParseProxies([]string{list})
		if err != nil {
			t.Fatal(err)
		}
		for peer, want := range map[string]string{"10.0.0.1:5": "203.0.113.9", "[::ffff:10.0.0.1]:5": "203.0.113.9", "11.0.0.1:5": "11.0.0.1", "[2001:db8::1]:5": "2001:db8::1"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = peer
			r.Header.Set("X-Forwarded-For", "203.0.113.9")
			if got := proxies.ClientAddr(r); got != want {
				t.Errorf("%s of %s is %q, want %q", peer, list, got, want)
			}
		}
	}
}

// Of two values that should be one, the proxy wrote one and passed on the other.
func TestExternalTwice(t *testing.T) {
	t.Parallel()
	proxies, err := ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X-ExternalServer", "X_ExternalServer", "X-ExternalPort"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:5"
		r.Header.Set("X-ExternalServer", "tera.example")
		r.Header.Set("X-ExternalPort", "443")
		r.Header.Add(name, "1")
		if host, ok := proxies.External(r); ok {
			t.Errorf("two of %s give %s", name, host)
		}
	}
}

func TestParseProxiesRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"nginx", "10.0.0.0/33", "10.0.0", "*"} {
		if _, err := ParseProxies([]string{s}); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestWebsocketURLBase(t *testing.T) {
	t.Parallel()
	proxies, err := ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		public  string
		peer    string
		headers map[string]string
		isTLS   bool
		want    string
	}{
		"from the request":         {"", "192.0.2.1:5", nil, true, "wss://asked.example:4050"},
		"plain":                    {"", "192.0.2.1:5", nil, false, "ws://asked.example:4050"},
		"setting wins":             {"wss://public.example", "10.0.0.1:5", map[string]string{"X-ExternalServer": "a"}, true, "wss://public.example"},
		"OpenTera's nginx":         {"", "10.0.0.1:5", map[string]string{"X_ExternalServer": "tera.example", "X-ExternalPort": "40075"}, false, "wss://tera.example:40075"},
		"another proxy's spelling": {"", "10.0.0.1:5", map[string]string{"X-ExternalServer": "tera.example", "X-ExternalPort": "40075"}, false, "wss://tera.example:40075"},
		"no port":                  {"", "10.0.0.1:5", map[string]string{"X-ExternalServer": "tera.example"}, false, "wss://tera.example"},
		"IPv6":                     {"", "10.0.0.1:5", map[string]string{"X-ExternalServer": "[2001:db8::1]", "X-ExternalPort": "1"}, false, "wss://[2001:db8::1]:1"},
		"spoofed":                  {"", "192.0.2.1:5", map[string]string{"X_ExternalServer": "evil.example", "X-ExternalServer": "evil.example"}, true, "wss://asked.example:4050"},
		"proxy says nothing":       {"", "10.0.0.1:5", map[string]string{"X-ExternalPort": "1"}, true, "wss://asked.example:4050"},
		"a client's own word through OpenTera's nginx": {"", "10.0.0.1:5", map[string]string{"X-ExternalServer": "evil.example", "X_ExternalServer": "tera.example", "X-ExternalPort": "40075"}, true, "wss://asked.example:4050"},
		"both spellings of one name":                   {"", "10.0.0.1:5", map[string]string{"X-ExternalServer": "tera.example", "X_ExternalServer": "tera.example"}, true, "wss://tera.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scheme := "http"
			if test.isTLS {
				scheme = "https"
			}
			r := httptest.NewRequest(http.MethodGet, scheme+"://asked.example:4050/api/user/login", nil)
			r.RemoteAddr = test.peer
			for k, v := range test.headers {
				r.Header.Set(k, v)
			}
			if got := (&API{Proxies: proxies, PublicURL: test.public}).base(r); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func FuzzClientAddr(f *testing.F) {
	f.Add("10.1.2.3:5", "203.0.113.9, 10.0.0.1", "tera.example", "1")
	proxies, err := ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, peer, forwarded, server, port string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = peer
		r.Header["X-Forwarded-For"] = []string{forwarded}
		r.Header["X-Externalserver"] = []string{server}
		r.Header["X-Externalport"] = []string{port}
		proxies.ClientAddr(r)
		proxies.External(r)
	})
}
