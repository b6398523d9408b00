package embedded_test

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"testing"

	"terasocket/db/embedded"
)

// Started by root, the server runs as postgres or nobody, with that user's groups and none of root's.
func TestRunsAsAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root hands the server to another user")
	}
	want, err := user.Lookup("postgres")
	if err != nil {
		if want, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	s := startServer(t, embedded.Config{})
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", postmaster(t, s.Dir())))
	if err != nil {
		t.Fatal(err)
	}
	status := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.Fields(value)
	}
	if got := status["Uid"]; len(got) != 4 || slices.ContainsFunc(got, func(id string) bool { return id != want.Uid }) {
		t.Errorf("uid %v, want %s", got, want.Uid)
	}
	groups, err := want.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range status["Groups"] {
		if !slices.Contains(groups, g) {
			t.Errorf("group %s is not one of %s's", g, want.Username)
		}
	}
	if len(status["Groups"]) != len(groups) {
		t.Errorf("groups %v, want %v", status["Groups"], groups)
	}
}
