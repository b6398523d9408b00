package db_test

import (
	"testing"

	"go.uber.org/goleak"

	"terasocket/db/dbtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(dbtest.Suite(m))
}
