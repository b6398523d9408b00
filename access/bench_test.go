package access_test

import (
	"fmt"
	"testing"

	"terasocket/access"
	"terasocket/db/dbtest"
)

// BenchmarkAudiences asks for a batch of different keys on the demo installation.
func BenchmarkAudiences(b *testing.B) {
	rules := &access.Rules{Pool: dbtest.Pool(b, dbtest.New(b, demo()))}
	for _, n := range []int{1, 100, 1000} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`[["u:%d","p:%d","p:%d"],["x","p:%d","s:%d","a:2"]]`, 1+i, 1+i%8, 1+(i+3)%8, 1+i%8, 1+i%3)
		}
		b.Run(fmt.Sprint(n, " keys"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rules.Audiences(b.Context(), keys); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
