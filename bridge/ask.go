package bridge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"
)

// Listeners returns how many user managers are subscribed, by publishing a message without effect: 0 if OpenTera's server is
// not running or its user manager is deaf, 1 if all is well.
func Listeners(ctx context.Context, client *redis.Client) (int64, error) {
	n, err := client.Publish(ctx, rpcTopic, []byte{}).Result() // an empty RPCMessage
	if err != nil {
		return 0, inWords(client, "PUBLISH "+rpcTopic, err)
	}
	return n, nil
}

// Ask calls a method of OpenTera's user manager without arguments and returns its value as JSON. An unknown method or a deaf
// user manager gives no answer: ctx bounds the wait.
func Ask(ctx context.Context, client *redis.Client, method string) (json.RawMessage, error) {
	replyTo := repliesTopic + rand.Text()
	sub := client.Subscribe(ctx, replyTo)
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil { // until Redis has subscribed us: the answer may come at once
		return nil, inWords(client, "SUBSCRIBE "+replyTo, err)
	}
	request, err := proto.Marshal(call(method, 0, replyTo))
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", method, err)
	}
	if err := client.Publish(ctx, rpcTopic, request).Err(); err != nil {
		return nil, inWords(client, "PUBLISH "+rpcTopic, err)
	}
	message, err := sub.ReceiveMessage(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", method, err)
	}
	var answer reply
	if err := json.Unmarshal([]byte(message.Payload), &answer); err != nil {
		return nil, fmt.Errorf("ask for %s: the answer is no JSON", method)
	}
	if answer.Status != "OK" {
		return nil, fmt.Errorf("ask for %s: the answer is %q", method, answer.Status)
	}
	return answer.Value, nil
}
