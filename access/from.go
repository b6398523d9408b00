package access

import "context"

type addressKey struct{}

// FromAddress says where a request came from, as Addresses counts it ("" where that is not known): the queue of passwords
// gives each its turn.
func FromAddress(ctx context.Context, addr string) context.Context {
	network, _ := Network(addr)
	return context.WithValue(ctx, addressKey{}, network)
}

func addressOf(ctx context.Context) string {
	network, _ := ctx.Value(addressKey{}).(string)
	return network
}
