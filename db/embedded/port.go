package embedded

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports for servers that are restarted: below those that systems give to outgoing connections (from 32768 on Linux), one of
// which could have the port when the server comes back.
const (
	firstPort = 15_000
	lastPort  = 32_000
)

// FreePort returns a TCP port of the loopback interface that nobody listens on, and that no outgoing connection takes.
func FreePort() (port int, err error) {
	for range 100 {
		port = firstPort + rand.IntN(lastPort-firstPort)
		var l net.Listener
		if l, err = net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}
