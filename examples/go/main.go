// A terasocket client in protobuf: logs in, prints events, reconnects and resumes.
// go run ./examples/go https://host:port username password
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"
	"terasocket/proto/opentera"
	"terasocket/proto/terasocket"
)

var errStayAway = errors.New("staying away")

// login returns a websocket URL: good once, within 60 s. isBack: replace a broken connection that the server may still hold open.
func login(base, username, password string, isBack bool) (string, error) {
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/api/user/login?with_websocket=true&replace=%t", base, isBack), nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errStayAway, err)
	}
	request.SetBasicAuth(username, password)
	response, err := (&http.Client{Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests { // see Retry-After
		return "", fmt.Errorf("login: %s", response.Status)
	}
	var answer struct {
		URL string `json:"websocket_url"` // absent: the login needs a second step
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.URL == "" {
		return "", fmt.Errorf("%w: login refused: %s", errStayAway, response.Status)
	}
	return answer.URL, nil
}

// once runs one socket until it closes. cursor is the last seq.
func once(base, username, password string, cursor *uint64) error {
	url, err := login(base, username, password, *cursor > 0)
	if err != nil {
		return err
	}
	dialer := websocket.Dialer{Subprotocols: []string{"opentera.protobuf"}, HandshakeTimeout: 10 * time.Second}
	conn, _, err := dialer.Dial(fmt.Sprintf("%s&since=%d", url, *cursor), nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("connected")
	for {
		_, frame, err := conn.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) && !slices.Contains([]int{1006, 1011, 1012, 1013}, closed.Code) {
			return fmt.Errorf("%w: %w", errStayAway, err) // 4000: kicked; 1008, 1009: fix the client
		} else if err != nil { // broken, internal error, restart, too slow
			return err
		}
		message, event := new(opentera.TeraMessage), new(opentera.TeraEvent)
		if err := errors.Join(proto.Unmarshal(frame, message), message.GetMessage().UnmarshalTo(event)); err != nil {
			return fmt.Errorf("%w: %w", errStayAway, err)
		}
		*cursor = event.Header.GetSeq()
		for _, packed := range event.Events {
			switch e, _ := packed.UnmarshalNew(); e := e.(type) { // nil: an unknown message type
			case *terasocket.Cursor:
			case *terasocket.ReplayIncomplete:
				fmt.Println("incomplete: read again by REST")
			default:
				fmt.Println(*cursor, packed.MessageName().Name(), e)
			}
		}
	}
}

func main() {
	for pause, cursor := time.Second, uint64(0); ; pause = min(2*pause, time.Minute) {
		began := time.Now()
		err := once(os.Args[1], os.Args[2], os.Args[3], &cursor)
		if errors.Is(err, errStayAway) {
			fmt.Println(err)
			return
		}
		if time.Since(began) > time.Minute { // it was connected
			pause = time.Second
		}
		fmt.Println("coming back:", err)
		time.Sleep(pause/2 + rand.N(pause/2))
	}
}
