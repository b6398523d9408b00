package access

import "context"

type addressKey struct{}

// FromAddress records the address of a request as Addresses counts it ("" if unknown); the password queue serves addresses in turn.
func FromAddress(ctx context.Context, addr string) context.Context {
	network, _ := Network(addr)
	return context.WithValue(ctx, addressKey{}, network)
}

func addressOf(ctx context.Context) string {
	network, _ := ctx.Value(addressKey{}).(string)
	return network
}
