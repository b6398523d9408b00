package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A writer makes numbered changes, one transaction after the other. It does not repeat failed ones: whether they committed all
// the same is in the table chaos.changes. Its object ids are its own, so that a transaction that stays open for seconds blocks
// nobody else; objects with number 0 are shared, for transactions of one statement.
type writer struct {
	number, of int // of this many
	pool       *pgxpool.Pool
	rng        *rand.Rand
	world      *world
	stats      *tally
	n          int
}

// world holds the number of each kind: ids start at 100000.
type world struct {
	users, participants, devices, crowd int
	clients                             []*client
	newID                               atomic.Int64 // of added rows
}

// tally counts what was done.
type tally struct {
	mu    sync.Mutex
	count map[string]int
}

func (t *tally) add(what string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count[what] += n
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(t.count)) {
		all = append(all, fmt.Sprintf("%s %d", what, t.count[what]))
	}
	return strings.Join(all, ", ")
}

const archiveTopic = "service.FileTransferService.events"

const changeLimit = 30 * time.Second // for a transaction, without its pauses; then it has failed

// errTurnedDown makes a transaction roll back on purpose.
var errTurnedDown = errors.New("turned down")

// transaction runs one transaction of the writer; do makes the changes.
func (w *writer) transaction(ctx context.Context, what string, do func(ctx context.Context, tx pgx.Tx) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeLimit)
	defer cancel()
	w.n++
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error { return do(ctx, tx) })
	switch {
	case err == nil:
		w.stats.add(what, 1)
	case errors.Is(err, errTurnedDown):
		w.stats.add("rolled back", 1)
	default:
		w.stats.add("failed transactions", 1)
		time.Sleep(100 * time.Millisecond)
	}
}

var changeable = []string{"participant", "participant", "participant", "device", "session", "asset", "user"}

// pick returns one of the writer's own objects, or a shared one.
func (w *writer) pick(shared bool) (objectType string, id int) {
	objectType = changeable[w.rng.IntN(len(changeable))]
	n := map[string]int{"participant": w.world.participants, "device": w.world.devices, "session": 40, "asset": 40, "user": w.world.users}[objectType]
	if shared {
		return objectType, 100000
	}
	own := (n - 1) / w.of // the 0th is shared
	return objectType, 100000 + 1 + w.number%w.of + w.of*w.rng.IntN(max(own, 1))
}

// change changes an object and records it. i distinguishes the changes of one transaction.
func (w *writer) change(ctx context.Context, tx pgx.Tx, i int, objectType string, id int) error {
	mark := w.mark(i)
	sql := fmt.Sprintf("UPDATE t_%[1]ss SET %[2]s = $1 WHERE id_%[1]s = $2", objectType, nameKey(objectType))
	tag, err := tx.Exec(ctx, sql, mark, id)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO chaos.changes (mark, writer, n, op, object_type, object_id, is_in)
		VALUES ($1, $2, $3, 'U', $4::text, $5::integer, CASE $4::text WHEN 'participant' THEN (SELECT id_project FROM t_participants WHERE id_participant = $5::integer)
		                           WHEN 'asset' THEN (SELECT id_session FROM t_assets WHERE id_asset = $5::integer) END)`,
		mark, w.number, w.n, objectType, id)
	return err
}

func (w *writer) mark(i int) string { return fmt.Sprintf("%d/%d/%d", w.number, w.n, i) }

// tell publishes a message to a client.
func (w *writer) tell(ctx context.Context, tx pgx.Tx, i int, to *client, isSilent bool) error {
	mark := w.mark(i)
	event := fmt.Sprintf(`{"@type": "type.googleapis.com/opentera.protobuf.ArchiveEvent", "archiveUuid": "%[1]s", "ownerUuid": "%[1]s", "archiveUrl": "%[2]s"}`, to.uuid, mark)
	if _, err := tx.Exec(ctx, "SELECT terasocket.publish($1, $2::jsonb)", archiveTopic, event); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO chaos.changes (mark, writer, n, op, object_type, object_id, told, is_silent) VALUES ($1, $2, $3, 'M', $4, $5, $6, $7)`,
		mark, w.number, w.n, to.kind.String(), to.id, to.uuid, isSilent)
	return err
}

func (w *writer) anyClient() *client { return w.world.clients[w.rng.IntN(len(w.world.clients))] }

// small runs transactions of one to four changes, some of them rolled back.
func (w *writer) small(ctx context.Context) {
	w.transaction(ctx, "small transactions", func(ctx context.Context, tx pgx.Tx) error {
		switch w.rng.IntN(8) {
		case 0: // a shared object
			objectType, id := w.pick(true)
			return w.change(ctx, tx, 0, objectType, id)
		case 1:
			for i := range 1 + w.rng.IntN(4) {
				if err := w.tell(ctx, tx, i, w.anyClient(), false); err != nil {
					return err
				}
			}
			return nil
		case 2:
			_, err := w.create(ctx, tx)
			return err
		default:
			if err := w.several(ctx, tx, 0, 1+w.rng.IntN(3)); err != nil {
				return err
			}
			if w.rng.IntN(6) == 0 {
				return errTurnedDown
			}
			return nil
		}
	})
}

// several changes distinct objects.
func (w *writer) several(ctx context.Context, tx pgx.Tx, from, n int) error {
	done := map[string]bool{}
	for i := range n {
		objectType, id := w.pick(false)
		if key := fmt.Sprint(objectType, id); !done[key] {
			done[key] = true
			if err := w.change(ctx, tx, from+i, objectType, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// create adds an asset.
func (w *writer) create(ctx context.Context, tx pgx.Tx) (id int64, err error) {
	id = 500000 + w.world.newID.Add(1)
	mark, session := w.mark(0), 100000+w.rng.IntN(40)
	_, err = tx.Exec(ctx, `INSERT INTO t_assets (id_asset, id_session, asset_name, asset_uuid, asset_service_uuid, asset_type, version_id)
		VALUES ($1, $2, $3, gen_random_uuid()::text, '0badcafe-0000-4000-8000-000000000000', 'text/plain', 1)`, id, session, mark)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO chaos.changes (mark, writer, n, op, object_type, object_id, is_in) VALUES ($1, $2, $3, 'C', 'asset', $4, $5)`, mark, w.number, w.n, id, session)
	return id, err
}

// long keeps a transaction with savepoints open for a while, and may roll back to a savepoint.
func (w *writer) long(ctx context.Context) {
	w.transaction(ctx, "long transactions with savepoints", func(ctx context.Context, tx pgx.Tx) error {
		for i := range 2 + w.rng.IntN(4) {
			err := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
				if err := w.several(ctx, inner, 10*i, 1); err != nil {
					return err
				}
				if err := w.tell(ctx, inner, 10*i+1, w.anyClient(), false); err != nil {
					return err
				}
				if w.rng.IntN(3) == 0 {
					return errTurnedDown
				}
				return nil
			})
			if err != nil && !errors.Is(err, errTurnedDown) {
				return err
			}
			time.Sleep(time.Duration(w.rng.IntN(1000)) * time.Millisecond)
		}
		if w.rng.IntN(6) == 0 {
			return errTurnedDown
		}
		return nil
	})
}

// prepared commits in two phases, the second much later. PostgreSQL refuses to prepare a transaction that has notified, so this
// one asks the log not to, and nothing announces it.
func (w *writer) prepared(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeLimit)
	defer cancel()
	w.n++
	name := fmt.Sprintf("chaos_%d_%d", w.number, w.n)
	conn, err := w.pool.Acquire(ctx)
	if err != nil {
		w.stats.add("failed transactions", 1)
		return
	}
	err = func() error {
		defer conn.Release()
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }()
		if _, err := tx.Exec(ctx, "SET LOCAL terasocket.notify = off"); err != nil {
			return err
		}
		for i := range 1 + w.rng.IntN(4) {
			if err := w.tell(ctx, tx, i, w.anyClient(), true); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "PREPARE TRANSACTION '"+name+"'"); err != nil {
			return err
		}
		return nil
	}()
	if err != nil {
		w.stats.add("failed transactions", 1)
		// it may have been prepared all the same: settled below, or by settlePrepared
	}
	pause := time.Duration(w.rng.IntN(4000)) * time.Millisecond
	verb := "COMMIT"
	if w.rng.IntN(5) == 0 {
		verb = "ROLLBACK"
	}
	time.Sleep(pause)
	if _, err := w.pool.Exec(ctx, verb+" PREPARED '"+name+"'"); err == nil {
		w.stats.add("prepared transactions", 1)
	}
}

// settlePrepared commits transactions that a restart left prepared.
func settlePrepared(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, "SELECT gid FROM pg_prepared_xacts")
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		if _, err := pool.Exec(ctx, "COMMIT PREPARED '"+name+"'"); err != nil {
			return err
		}
	}
	return err
}

// burst changes the whole crowd in one commit.
func (w *writer) burst(ctx context.Context) {
	w.transaction(ctx, "bursts", func(ctx context.Context, tx pgx.Tx) error {
		mark := w.mark(0)
		if _, err := tx.Exec(ctx, "UPDATE t_participants SET participant_name = $1 WHERE id_participant >= 300000", mark); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO chaos.changes (mark, writer, n, op, object_type, object_id, is_in)
			SELECT $1, $2, $3, 'U', 'participant', id_participant, id_project FROM t_participants WHERE id_participant >= 300000`, mark, w.number, w.n)
		return err
	})
}

// move moves participants from one project to another.
func (w *writer) move(ctx context.Context) {
	w.transaction(ctx, "participants moved", func(ctx context.Context, tx pgx.Tx) error {
		mark, id, to := w.mark(0), 200000+w.rng.IntN(20), 9101+w.rng.IntN(6)
		var from int
		if err := tx.QueryRow(ctx, "SELECT id_project FROM t_participants WHERE id_participant = $1 FOR UPDATE", id).Scan(&from); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE t_participants SET participant_name = $1, id_project = $2 WHERE id_participant = $3", mark, to, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO chaos.changes (mark, writer, n, op, object_type, object_id, was_in, is_in)
			VALUES ($1, $2, $3, 'U', 'participant', $4, $5, $6)`, mark, w.number, w.n, id, from, to)
		return err
	})
}

// remove adds an asset, changes it, and deletes it: softly, softly with another change, or for good.
func (w *writer) remove(ctx context.Context) {
	var id int64
	w.transaction(ctx, "small transactions", func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = w.create(ctx, tx)
		return err
	})
	w.transaction(ctx, "small transactions", func(ctx context.Context, tx pgx.Tx) error { return w.change(ctx, tx, 0, "asset", int(id)) })
	w.transaction(ctx, "assets deleted", func(ctx context.Context, tx pgx.Tx) error {
		op := []string{"S", "D", "D"}
		how := w.rng.IntN(3)
		sql := []string{"UPDATE t_assets SET deleted_at = now()", "UPDATE t_assets SET deleted_at = now(), asset_name = 'deleted'", "DELETE FROM t_assets"}[how]
		var session int
		if err := tx.QueryRow(ctx, sql+" WHERE id_asset = $1 RETURNING id_session", id).Scan(&session); errors.Is(err, pgx.ErrNoRows) {
			return nil // it was never added
		} else if err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO chaos.changes (mark, writer, n, op, object_type, object_id, is_in) VALUES ('', $1, $2, $3, 'asset', $4, $5)`,
			w.number, w.n, op[how], id, session)
		return err
	})
}

// every repeats work with pauses of up to twice the mean.
func (w *writer) every(ctx context.Context, mean time.Duration, work func(context.Context)) {
	for ctx.Err() == nil {
		work(ctx)
		sleepFor(ctx, time.Duration(w.rng.Int64N(int64(2*mean))))
	}
}
