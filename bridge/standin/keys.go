package standin

import (
	"context"
	"crypto/rand"
)

// makeKeys creates new signing keys of 32 characters, as each start of OpenTera does.
func (m *UserManager) makeKeys(ctx context.Context) error {
	pipe := m.client.TxPipeline()
	for _, name := range []string{"UserTokenAPIKey", "ParticipantTokenAPIKey", "ServiceTokenAPIKey"} {
		pipe.Set(ctx, name, (rand.Text() + rand.Text())[:32], 0)
	}
	_, err := pipe.Exec(ctx)
	return err
}
