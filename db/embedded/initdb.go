//go:build unix

package embedded

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// superuser is the role that initdb creates and URL names.
const superuser = "postgres"

// initdb creates the data directory. C.UTF-8 sorts by code point and knows the letters of every language; where the C library lacks it
// (old macOS), C is used.
func (s *Server) initdb(ctx context.Context) error {
	out, err := s.runInitdb(ctx, "C.UTF-8")
	if err != nil && bytes.Contains(out, []byte("invalid locale")) {
		out, err = s.runInitdb(ctx, "C")
	}
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(out, 10))
	}
	return nil
}

func (s *Server) runInitdb(ctx context.Context, locale string) ([]byte, error) {
	cmd := s.command(filepath.Join(s.bin, "initdb"),
		"--pgdata="+s.data(), "--username="+superuser, "--auth=trust",
		"--encoding=UTF8", "--locale="+locale, "--lc-messages=C",
		"--no-sync", "--wal-segsize=4")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	if err := s.dog.guard(p.cmd.Process.Pid); err != nil {
		p.end(os.Kill, stopLimit)
		return nil, err
	}
	select {
	case <-p.done:
		return out.Bytes(), p.err
	case <-ctx.Done():
		// The whole process group: initdb runs postgres --boot beneath it.
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		return nil, context.Cause(ctx)
	}
}

// configure appends to postgresql.conf, so that ALTER SYSTEM still works. The last line of a setting wins.
func (s *Server) configure(port int, extra map[string]string) error {
	file := filepath.Join(s.data(), "postgresql.conf")
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	defer f.Close()
	settings := map[string]string{
		"listen_addresses":           "127.0.0.1",
		"port":                       fmt.Sprint(port),
		"unix_socket_directories":    s.dir,
		"max_connections":            "200",
		"max_prepared_transactions":  "20",
		"fsync":                      "off",
		"synchronous_commit":         "off",
		"full_page_writes":           "off",
		"dynamic_shared_memory_type": "mmap", // files in the data directory: nothing stays in /dev/shm
		"logging_collector":          "off",
		"log_destination":            "stderr",
		"cluster_name":               "terasocket",
	}
	maps.Copy(settings, extra)
	var conf strings.Builder
	conf.WriteString("\n# terasocket db/embedded\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(settings[name])
		fmt.Fprintf(&conf, "%s = '%s'\n", name, value)
	}
	if _, err := f.WriteString(conf.String()); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

// command prepares a server program to run as the server's account, in its directory, without PG* environment variables.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "HOME=" + s.dir, "TMPDIR=" + s.dir, "LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.SysProcAttr = s.account.attributes()
	return cmd
}

// lastLines returns the last n lines of text.
func lastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
