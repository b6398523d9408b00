//go:build unix

package embedded

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// account is the system user that runs the server; nil stands for the user that runs this program.
type account struct {
	name     string
	uid, gid uint32
	groups   []uint32
}

// serverAccount returns nil unless this program runs as root, which PostgreSQL refuses to do.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		return newAccount(u)
	}
	return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")
}

func newAccount(u *user.User) (*account, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: uid: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: gid: %w", u.Username, err)
	}
	a := &account{name: u.Username, uid: uint32(uid), gid: uint32(gid)}
	// As initgroups(3): otherwise the server would keep root's supplementary groups.
	ids, err := u.GroupIds()
	if err != nil {
		ids = []string{u.Gid}
	}
	for _, id := range ids {
		if g, err := strconv.ParseUint(id, 10, 32); err == nil {
			a.groups = append(a.groups, uint32(g))
		}
	}
	return a, nil
}

// attributes applies to every process of the server: a process group of its own, so that Ctrl-C in a terminal reaches only this program,
// which then stops the server in order.
func (a *account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups, NoSetGroups: setgroupsDenied()}
	}
	endWithParent(attr)
	return attr
}

// setgroupsDenied reports whether setgroups(2) is forbidden, as in a user namespace without mapped groups (rootless containers), where
// there are no groups to drop.
func setgroupsDenied() bool {
	text, err := os.ReadFile("/proc/self/setgroups")
	return err == nil && strings.TrimSpace(string(text)) == "deny"
}

// own makes the account the owner of path.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// canReach reports whether the account may traverse dir and everything above it. dir is absolute.
func (a *account) canReach(dir string) bool {
	if a == nil {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || !a.mayTraverse(info) {
			return false
		}
		if dir == "/" {
			return true
		}
		dir = parent(dir)
	}
}

func (a *account) mayTraverse(info os.FileInfo) bool {
	perm := info.Mode().Perm()
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && st.Uid == a.uid:
		return perm&0o100 != 0
	case ok && st.Gid == a.gid:
		return perm&0o010 != 0
	}
	return perm&0o001 != 0
}

func parent(dir string) string {
	if i := strings.LastIndexByte(strings.TrimRight(dir, "/"), '/'); i > 0 {
		return dir[:i]
	}
	return "/"
}
