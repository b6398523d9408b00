package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// MountTmpfs mounts a file system of this size for the server with that data directory. It is unmounted at the end of the test.
func MountTmpfs(t testing.TB, data, size string) (dir string, err error) {
	if os.Geteuid() != 0 {
		return "", errors.New("mounting a file system needs root")
	}
	info, err := os.Stat(data)
	if err != nil {
		return "", fmt.Errorf("the server is not on this machine: %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if dir, err = os.MkdirTemp("/tmp", "terasocket-small-disk-"); err != nil { // the server cannot enter t.TempDir
		return "", err
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%s,uid=%d,gid=%d,mode=700", size, owner.Uid, owner.Gid), "tmpfs", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("mount: %w: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir, nil
}
