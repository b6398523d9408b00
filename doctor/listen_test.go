package doctor

import "testing"

func TestListenOnAnotherDatabase(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.ListenDatabaseURL = newInstallation(t).DatabaseURL
	i.find("listen").must(t, Fail, "no notification within 2s", "same database")
}
