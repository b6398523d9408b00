package embedded

import (
	"context"
	"errors"
)

// Server is not available on Windows.
type Server struct{}

// Start returns an error: throw-away clusters need a Unix system.
func Start(context.Context, Config) (*Server, error) {
	return nil, errors.New("start PostgreSQL: throw-away servers are not supported on Windows; set DATABASE_URL to a running one")
}

// URL returns "".
func (s *Server) URL(string) string { return "" }

// Addr returns "".
func (s *Server) Addr() string { return "" }

// Dir returns "".
func (s *Server) Dir() string { return "" }

// Restart returns an error.
func (s *Server) Restart(context.Context) error { return errors.ErrUnsupported }

// Stop does nothing.
func (s *Server) Stop() error { return nil }
