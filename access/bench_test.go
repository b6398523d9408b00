package access_test

import (
	"fmt"
	"testing"

	"terasocket/db/dbtest"
)

// BenchmarkAudiences has PostgreSQL evaluate a batch of different keys on the demo installation, as explain does for one.
func BenchmarkAudiences(b *testing.B) {
	pool := dbtest.Pool(b, dbtest.New(b, demo()))
	for _, n := range []int{1, 100, 1000} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`[["u:%d","p:%d","p:%d"],["x","p:%d","s:%d","a:2"]]`, 1+i, 1+i%8, 1+(i+3)%8, 1+i%8, 1+i%3)
		}
		b.Run(fmt.Sprint(n, " keys"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dbtest.Exec(b, pool, "SELECT ord, kind, ids FROM terasocket.audience($1)", keys)
			}
		})
	}
}
