package main

import (
	"os"
	"testing"

	"terasocket/db/dbtest"
)

func TestMain(m *testing.M) {
	code := dbtest.Main(m)
	_ = os.RemoveAll(binaryDir)
	os.Exit(code)
}
