//go:build !linux

package load

import (
	"context"
	"errors"
)

// Clients works on Linux only.
type Clients struct{}

// NewClients fails: there is no epoll.
func NewClients() (*Clients, error) { return nil, errors.ErrUnsupported }

// Connect and the others are never called.
func (*Clients) Connect(context.Context, string, []string) error { return errors.ErrUnsupported }

// Run returns an error.
func (*Clients) Run(context.Context) error { return errors.ErrUnsupported }

// Count is 0.
func (*Clients) Count() (open, closed, frames int) { return 0, 0, 0 }

// FrameBytes is 0.
func (*Clients) FrameBytes() int { return 0 }

// Arrivals is empty.
func (*Clients) Arrivals() []Arrival { return nil }

// Close does nothing.
func (*Clients) Close() {}
