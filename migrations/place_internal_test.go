package migrations

import (
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	t.Parallel()
	good := place{Major: 13, Text: "13.1", PID: 7, Schema: "public", Owner: "tera", Owners: []string{"tera"}, Role: "tera", MayBecome: true}
	for want, change := range map[string]func(*place){
		"": func(*place) {},
		"PostgreSQL 12.22 is too old: terasocket works with 13 to 19":           func(p *place) { p.Major, p.Text = 12, "12.22" },
		"name the server itself in --migration-database-url":                    func(p *place) { p.PID = 8 },
		"not an OpenTera database":                                              func(p *place) { p.Schema = "" },
		"a read replica":                                                        func(p *place) { p.IsReplica = true },
		"a quote in its name":                                                   func(p *place) { p.Schema = `"o'neil"` },
		"belong to several roles (other, tera)":                                 func(p *place) { p.Owners = []string{"other", "tera"} },
		"the role poor may not migrate, since OpenTera's tables belong to tera": func(p *place) { p.Role, p.MayBecome = "poor", false },
		"the schema terasocket belongs to postgres":                             func(p *place) { p.Ours = "postgres" },
	} {
		p := good
		change(&p)
		if err := p.fault(7); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
