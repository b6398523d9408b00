package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// Reference is the minimal server: one goroutine that calls Write for each client. It serves on listener until commands ends:
// each line is the number of an event to send to all, in frames of size bytes.
func Reference(listener net.Listener, commands io.Reader, size int) error {
	var mu sync.Mutex
	var conns []net.Conn
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				_ = conn.Close()
				continue
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n")
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	}()
	defer func() {
		_ = listener.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	lines := bufio.NewScanner(commands)
	for lines.Scan() {
		frame := referenceFrame(lines.Text(), size)
		mu.Lock()
		for _, conn := range conns {
			_, _ = conn.Write(frame)
		}
		mu.Unlock()
	}
	return lines.Err()
}

// referenceFrame returns a text frame with the number of an event.
func referenceFrame(number string, size int) []byte {
	payload := fmt.Appendf(nil, "%s%0*s ", Mark, markDigits, number)
	payload = append(payload, bytes.Repeat([]byte("x"), max(126, size)-len(payload))...)
	return append([]byte{0x81, 126, byte(len(payload) >> 8), byte(len(payload))}, payload...)
}

// Number formats an event's number for a row or a frame.
func Number(event int) string { return fmt.Sprintf("%0*d", markDigits, event) }
