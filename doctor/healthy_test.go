package doctor

import (
	"testing"
)

func TestHealthyDatabase(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	findings, err := Examine(t.Context(), i.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Log(f)
	}
}
