package embedded

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports for servers that are restarted: below the range of outgoing connections (from 32768 on Linux), one of which could take the port
// before the server is back.
const (
	firstPort = 15_000
	lastPort  = 32_000
)

// FreePort returns a TCP port of the loopback interface that is free and outside the range of outgoing connections.
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
