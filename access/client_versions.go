package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ClientVersion is what OpenTera knows about a client program (server setting ServerVersions).
type ClientVersion struct {
	Name               string  `json:"client_name"`
	Description        *string `json:"client_description"`
	Version            string  `json:"client_version"`
	DocumentationURL   *string `json:"client_documentation_url"`
	WindowsDownloadURL *string `json:"client_windows_download_url"`
	MacDownloadURL     *string `json:"client_mac_download_url"`
	LinuxDownloadURL   *string `json:"client_linux_download_url"`
}

// ClientVersions looks up the client programs of the installation.
type ClientVersions struct {
	Pool *pgxpool.Pool
}

// Client returns the client program of this name, nil if unknown. Errors: a setting that is not OpenTera's JSON ({"clients":
// {"OpenTeraPlus": {...}}}), or the database's.
func (c *ClientVersions) Client(ctx context.Context, name string) (*ClientVersion, error) {
	var setting *string
	if err := c.Pool.QueryRow(ctx, "SELECT terasocket.server_setting('ServerVersions')").Scan(&setting); err != nil {
		return nil, fmt.Errorf("read client versions: %w", err)
	}
	if setting == nil {
		return nil, nil
	}
	return clientVersion(*setting, name)
}

// clientVersion finds a client in the text of the setting.
func clientVersion(setting, name string) (*ClientVersion, error) {
	var versions struct {
		Clients map[string]*ClientVersion `json:"clients"`
	}
	if json.Unmarshal([]byte(setting), &versions) != nil {
		return nil, errors.New("the server setting ServerVersions is not the JSON that OpenTera writes")
	}
	client := versions.Clients[name]
	if client != nil && client.Name == "" {
		client.Name = name
	}
	return client, nil
}
