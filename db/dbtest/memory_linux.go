package dbtest

import (
	"os"
	"syscall"
)

const (
	memory     = "/dev/shm"
	tmpfsMagic = 0x01021994
	enough     = 2 << 30 // bytes free: servers of several packages, of some 100 MB each
)

// memoryDir returns a directory in memory, where there is one with room: a
// database is cloned there in 30 ms instead of the 0.2 to 0.5 s of a disk.
// Otherwise, or when TMPDIR says where to put things, it returns "": the
// system's temporary directory. (Containers often have a /dev/shm of 64 MB.)
func memoryDir() string {
	if os.Getenv("TMPDIR") != "" {
		return ""
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); err != nil || fs.Type != tmpfsMagic {
		return ""
	}
	info, err := os.Stat(memory)
	if err != nil || info.Mode().Perm() != 0o777 || fs.Bavail*uint64(fs.Bsize) < enough {
		return ""
	}
	return memory
}
