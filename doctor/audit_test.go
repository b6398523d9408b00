package doctor

import (
	"strings"
	"testing"
	"time"
)

func TestAuditIsAskedFor(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.find("audit").must(t, Skip, "--audit-deliveries")
	i.AuditDeliveries, i.AuditRetention = true, 240*time.Hour
	i.find("audit").must(t, Warn, "nothing was recorded yet")
	i.exec("SELECT terasocket.keep_deliveries('10 days')")
	i.find("audit").must(t, Warn, "may change and delete what is recorded", "serve as a role of its own")

	role, url := i.newRole()
	i.exec("GRANT USAGE ON SCHEMA terasocket TO " + role + "; GRANT SELECT ON terasocket.schema_migrations, terasocket.functions TO " + role)
	owner := i.DatabaseURL
	i.DatabaseURL = url
	i.find("rights").must(t, Fail, "INSERT on terasocket.deliveries", "--audit-deliveries`")
	i.find("audit").must(t, Skip, "rights")
	grants, err := Grants(t.Context(), owner, role, Parts{AuditDeliveries: true})
	if all := strings.Join(grants, "\n"); err != nil || !strings.Contains(all, "GRANT INSERT ON terasocket.deliveries TO "+role+";") ||
		!strings.Contains(all, "GRANT EXECUTE ON FUNCTION terasocket.keep_deliveries(interval) TO "+role+";") {
		t.Fatal(all, err)
	}
	for _, grant := range grants {
		i.exec(grant)
	}
	i.find("audit").must(t, OK, role+" may add to it and change nothing")

	i.exec("CREATE TABLE terasocket.deliveries_20261399 (LIKE terasocket.deliveries INCLUDING CONSTRAINTS); " + // not a date: an operator's own
		"ALTER TABLE terasocket.deliveries ATTACH PARTITION terasocket.deliveries_20261399 FOR VALUES FROM ('2019-01-06Z') TO ('2019-01-13Z')")
	i.exec("DO $$ DECLARE r text; BEGIN FOR r IN SELECT name FROM terasocket.delivery_weeks WHERE since > now() LOOP EXECUTE 'DROP TABLE terasocket.' || r; END LOOP; END $$")
	i.find("audit").must(t, Warn, "there is no week", "weeks of terasocket.deliveries not made")
	i.exec("SELECT terasocket.keep_deliveries('10 days')")
	i.exec("CREATE TABLE terasocket.deliveries_20200106 (LIKE terasocket.deliveries INCLUDING CONSTRAINTS); " +
		"ALTER TABLE terasocket.deliveries ATTACH PARTITION terasocket.deliveries_20200106 FOR VALUES FROM ('2020-01-06Z') TO ('2020-01-13Z')")
	i.find("audit").must(t, Warn, "from 2020-01-06 on; it should hold 240h", "transactions")
	i.exec("DO $$ DECLARE r text; BEGIN FOR r IN SELECT name FROM terasocket.delivery_weeks WHERE name > 'deliveries_2021' LOOP EXECUTE 'DROP TABLE terasocket.' || r; END LOOP; END $$")
	i.find("audit").must(t, Fail, "there is no week for what is sent now", "weeks of terasocket.deliveries not made")

	i.DatabaseURL = owner
	i.exec("DROP VIEW terasocket.delivery_weeks; DROP TABLE terasocket.deliveries")
	i.find("audit").must(t, Fail, "is missing", "migrate up")
}
