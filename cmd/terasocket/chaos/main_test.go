package chaos

import (
	"os"
	"testing"

	"terasocket/cmd/terasocket/gatewaytest"
)

func TestMain(m *testing.M) { os.Exit(gatewaytest.Main(m, "-race")) }
