package api

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"net/http"
	"strings"
)

// uid is the attribute of an OpenTera device certificate that carries the device's UUID.
var uid = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}

// certificateUUID returns the UUID from the client certificate of a request, verified by this server's own TLS (--client-ca),
// or if Certificates is set by a trusted proxy, which says so in X-SSL-VERIFIED and passes the subject in X-SSL-CLIENT-DN. These
// headers are ignored from anyone else. ok is false without a device certificate.
func (p *Proxies) certificateUUID(r *http.Request) (uuid string, ok bool) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return deviceOf(subjectOf(r.TLS.VerifiedChains[0][0]))
	}
	peer, ok := peerAddr(r)
	verified, subjects := r.Header.Values("X-SSL-VERIFIED"), r.Header.Values("X-SSL-CLIENT-DN")
	if !ok || !p.Certificates || !p.isTrusted(peer) || len(verified) != 1 || verified[0] != "SUCCESS" || len(subjects) != 1 {
		return "", false
	}
	subject, ok := parseSubject(subjects[0])
	if !ok {
		return "", false
	}
	return deviceOf(subject)
}

// attribute is one of a certificate's subject: type and value, {"CN", "Device"}.
type attribute struct{ name, value string }

// deviceOf returns the UUID of a subject as OpenTera issues it to devices: CN is Device, UID the UUID. ok is false for any
// other subject, or if either attribute occurs twice.
func deviceOf(subject []attribute) (uuid string, ok bool) {
	var commonName string
	seen := map[string]bool{}
	for _, a := range subject {
		if a.name != "UID" && a.name != "CN" {
			continue
		}
		if seen[a.name] {
			return "", false
		}
		seen[a.name] = true
		if a.name == "UID" {
			uuid = a.value
		} else {
			commonName = a.value
		}
	}
	return uuid, len(uuid) == 36 && strings.Contains(commonName, "Device")
}

func subjectOf(cert *x509.Certificate) (subject []attribute) {
	for _, a := range cert.Subject.Names {
		value, _ := a.Value.(string)
		switch {
		case a.Type.Equal(uid):
			subject = append(subject, attribute{"UID", value})
		case a.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}):
			subject = append(subject, attribute{"CN", value})
		}
	}
	return subject
}

// parseSubject parses a distinguished name in nginx's $ssl_client_s_dn format, RFC 2253: "UID=...,CN=Device,O=A\, B". Commas
// and plus signs in a value are escaped, so that no value can pass for another attribute. ok is false for anything else.
func parseSubject(dn string) (subject []attribute, ok bool) {
	for rest := dn; ; {
		name, value, found := strings.Cut(rest, "=")
		name = strings.ToUpper(strings.TrimSpace(name))
		if !found || name == "" || strings.ContainsAny(name, ",+\\\"/;") {
			return nil, false
		}
		var text string
		if text, rest, ok = parseValue(value); !ok {
			return nil, false
		}
		subject = append(subject, attribute{name, text})
		if rest == "" {
			return subject, true
		}
		rest = rest[1:] // comma or plus sign
	}
}

// parseValue parses a value up to the next comma or plus sign, which stays in rest.
func parseValue(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ',', '+':
			return b.String(), s[i:], true
		case '"', ';', '<', '>': // allowed only escaped
			return "", "", false
		case '\\':
			if i+2 < len(s) {
				if pair, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
					b.Write(pair)
					i += 2
					continue
				}
			}
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", true
}
