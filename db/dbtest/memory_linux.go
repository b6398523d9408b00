package dbtest

import (
	"os"
	"syscall"
)

const (
	memory     = "/dev/shm"
	tmpfsMagic = 0x01021994
	enough     = 2 << 30 // bytes free: enough for servers of several packages, some 100 MB each
)

// memoryDir returns a directory in memory if one has room: cloning a database there takes 40 ms of CPU instead of 160. Otherwise it
// returns "" for the temporary directory. (Containers often have a /dev/shm of 64 MB.)
func memoryDir() string {
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
