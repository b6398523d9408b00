package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Proxies are the addresses whose X-Forwarded-*, X-ExternalServer and X-ExternalPort headers are trusted. From any other
// address these headers are ignored.
type Proxies struct {
	Certificates bool // they verify client certificates: their X-SSL-* headers count, too

	trusted []netip.Prefix
}

// ParseProxies parses addresses and networks ("10.0.0.1", "10.0.0.0/8").
func ParseProxies(list []string) (*Proxies, error) {
	p := &Proxies{}
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			addr, addrErr := netip.ParseAddr(s)
			if addrErr != nil {
				return nil, fmt.Errorf("trusted proxy %q is neither an address nor a network such as 10.0.0.0/8", s)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 { // peers are compared unmapped
			prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
		}
		p.trusted = append(p.trusted, prefix.Masked())
	}
	return p, nil
}

// ClientAddr returns the client's address without port: the peer, or the last untrusted address of X-Forwarded-For if the peer
// is a trusted proxy. It is "" if a trusted proxy passes none (OpenTera's nginx does not, for /wss).
func (p *Proxies) ClientAddr(r *http.Request) string {
	peer, ok := peerAddr(r)
	if !ok {
		return ""
	}
	if !p.isTrusted(peer) {
		return peer.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		addr, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			return ""
		}
		if !p.isTrusted(addr) {
			return addr.String()
		}
	}
	return ""
}

// parseHop parses an address of X-Forwarded-For. Some proxies add the port: 192.0.2.1:5678, [2001:db8::1]:5678.
func parseHop(hop string) (netip.Addr, bool) {
	if bare, ok := strings.CutPrefix(hop, "["); ok && strings.HasSuffix(bare, "]") {
		hop = strings.TrimSuffix(bare, "]")
	}
	addr, err := netip.ParseAddr(hop)
	if err != nil {
		withPort, portErr := netip.ParseAddrPort(hop)
		if portErr != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

// External returns the host:port by which clients reach a trusted proxy: X_ExternalServer (as OpenTera's nginx spells it) or
// X-ExternalServer, with X-ExternalPort. Of two different values one is the client's own, passed on by the proxy: then neither
// counts.
func (p *Proxies) External(r *http.Request) (host string, ok bool) {
	peer, ok := peerAddr(r)
	if !ok || !p.isTrusted(peer) {
		return "", false
	}
	servers := slices.Compact(slices.Concat(r.Header.Values("X-ExternalServer"), r.Header["X_externalserver"])) // Go's canonical form of X_ExternalServer
	ports := slices.Compact(r.Header.Values("X-ExternalPort"))
	if len(servers) != 1 || len(ports) > 1 {
		return "", false
	}
	host = servers[0]
	if len(ports) == 1 && ports[0] != "" {
		host = net.JoinHostPort(strings.Trim(host, "[]"), ports[0])
	}
	return host, isHost(host)
}

// isHost reports whether s is a name or an address, with or without a port, and nothing that could end the host part of a URL.
func isHost(s string) bool {
	u, err := url.Parse("wss://" + s)
	return err == nil && u.Host == s && u.Hostname() != "" && u.User == nil
}

func (p *Proxies) isTrusted(addr netip.Addr) bool {
	for _, prefix := range p.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func peerAddr(r *http.Request) (netip.Addr, bool) {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	return addr.Addr().Unmap(), err == nil
}
