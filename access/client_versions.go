package access

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ClientVersion is what OpenTera knows of a client program (server setting ServerVersions).
type ClientVersion struct {
	Name               string  `json:"client_name"`
	Description        *string `json:"client_description"`
	Version            string  `json:"client_version"`
	DocumentationURL   *string `json:"client_documentation_url"`
	WindowsDownloadURL *string `json:"client_windows_download_url"`
	MacDownloadURL     *string `json:"client_mac_download_url"`
	LinuxDownloadURL   *string `json:"client_linux_download_url"`
}

// ClientVersions knows the client programs of the installation.
type ClientVersions struct {
	Pool *pgxpool.Pool
}

// Client gives the one of this name, nil when it is unknown. Errors: the database's.
func (c *ClientVersions) Client(ctx context.Context, name string) (*ClientVersion, error) {
	return nil, errTODO
}
