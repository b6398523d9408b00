package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"terasocket/db/dbtest"
)

// pooler puts a PgBouncer with transaction pooling in front of this database, and adds its fault. If PgBouncer ends by itself, it is
// restarted, as a service manager would do.
func (x *suite) pooler(databaseURL string) string {
	pooler := dbtest.PgBouncer(x, databaseURL, "transaction")
	var alone sync.Mutex // it is killed or restarted by one at a time
	var watching sync.WaitGroup
	watching.Go(func() {
		for ; x.Context().Err() == nil; sleepFor(x.Context(), 100*time.Millisecond) {
			alone.Lock()
			if pooler.HasEnded() {
				x.stats.add("PgBouncer ended by itself", 1)
				if err := pooler.Start(); err != nil {
					x.Error(err)
				}
			}
			alone.Unlock()
		}
	})
	x.Cleanup(watching.Wait)
	x.faults = append(x.faults, fault{"PgBouncer killed", func(rng *rand.Rand) func(context.Context) error {
		d := time.Duration(rng.Int64N(int64(2 * time.Second)))
		return func(ctx context.Context) error {
			alone.Lock()
			defer alone.Unlock()
			pooler.Kill()
			sleepFor(ctx, d)
			return pooler.Start()
		}
	}})
	return pooler.URL
}

// smallDisk puts the captured changes and the event log on a file system of their own, and adds the fault that it is full.
// Without permission to mount there is no such fault.
func (x *suite) smallDisk() {
	dir, err := dbtest.MountTmpfs(x, filepath.Join(x.server.Dir(), "data"), "1g")
	if err != nil {
		x.Logf("no disk-full fault: %v", err)
		return
	}
	// each in its own transaction, as CREATE TABLESPACE requires
	for _, sql := range []string{fmt.Sprintf("CREATE TABLESPACE small LOCATION '%s'", dir), "ALTER TABLE terasocket.events SET TABLESPACE small", "ALTER TABLE terasocket.changes SET TABLESPACE small"} {
		if _, err := x.pool.Exec(x.Context(), sql); err != nil {
			x.Fatal(err)
		}
	}
	x.faults = append(x.faults, fault{"disk of the log full", func(rng *rand.Rand) func(context.Context) error {
		d := 100*time.Millisecond + time.Duration(rng.Int64N(int64(1500*time.Millisecond)))
		return func(ctx context.Context) error {
			x.postgres.Lock() // recovery needs room on the disk
			defer x.postgres.Unlock()
			ballast := filepath.Join(dir, "ballast")
			if err := fill(ballast); err != nil {
				return err
			}
			sleepFor(ctx, d)
			return os.Remove(ballast)
		}
	}})
}

// fill creates a file of all remaining space.
func fill(name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	for {
		var disk syscall.Statfs_t
		if err := syscall.Statfs(name, &disk); err != nil {
			return err
		}
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if disk.Bavail == 0 {
			return nil
		}
		if err := syscall.Fallocate(int(file.Fd()), 0, info.Size(), int64(disk.Bavail)*disk.Bsize); err != nil && err != syscall.ENOSPC {
			return err
		}
	}
}
