package eventlog

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed sql/announce.sql
var announceSQL string

// announcement holds the results of announce() and poll().
type announcement struct {
	epoch, lastSeq uint64
	announced      int
	isMore         bool // objects were left for the next call
	isFilled       bool // the memory of announcements is filled; otherwise nothing was announced
	polled
}

// SQLSTATEs that the announcer acts on.
const (
	lockNotAvailable = "55P03"
	queryCanceled    = "57014"
	outOfMemory      = "53200"
)

// answerLimit is added to the statement's own time limit while waiting for the server's answer.
const answerLimit = 10 * time.Second

// announce asks for one announcement and returns its result and the state of polling.
func announce(ctx context.Context, pool *pgxpool.Pool, atMost int, isCareful bool, lastSeen uint64, limit time.Duration, p polling) (announcement, error) {
	values, err := locked(ctx, pool, fmt.Sprintf("* FROM terasocket.announce(%d, %t, %d) a, LATERAL terasocket.poll(%d, %t AND a.more IS NOT NULL, %t, %t)",
		atMost, isCareful, lastSeen, p.number, p.isBusy, p.isOn, p.isLate && p.horizon == 0), limit)
	if err != nil {
		return announcement{}, err
	}
	return parseAnnouncement(values)
}

func parseAnnouncement(values []string) (a announcement, err error) {
	if len(values) != 10 {
		return a, fmt.Errorf("an announcement gave %d columns, want 10", len(values))
	}
	numbers := make([]uint64, len(values))
	for _, i := range []int{0, 1, 2, 5, 7, 8, 9} {
		if numbers[i], err = strconv.ParseUint(values[i], 10, 63); err != nil {
			return a, err
		}
	}
	return announcement{epoch: numbers[0], lastSeq: numbers[1], announced: int(numbers[2]), isMore: values[3] == "t", isFilled: values[3] != "",
		polled: polled{isMine: values[4] == "t", left: time.Duration(numbers[5]) * time.Millisecond, was: values[6] == "t",
			recorded: numbers[7], oldest: numbers[8], next: numbers[9]}}, nil
}

// fillBatch is how many objects one fill() takes.
const fillBatch = 2000

// fill fills part of the memory of announcements and returns how many objects are left.
func fill(ctx context.Context, pool *pgxpool.Pool, limit time.Duration) (left int, err error) {
	values, err := locked(ctx, pool, fmt.Sprintf("terasocket.fill(%d)", fillBatch), limit)
	if err != nil {
		return 0, err
	}
	if len(values) != 1 {
		return 0, fmt.Errorf("fill() gave %d columns, want 1", len(values))
	}
	return strconv.Atoi(values[0])
}

// locked calls a function under the announcer's lock (sql/announce.sql) and returns the one row of its result.
func locked(ctx context.Context, pool *pgxpool.Pool, call string, limit time.Duration) (values []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit+answerLimit)
	defer cancel()
	sql := strings.NewReplacer("{limit}", strconv.FormatInt(limit.Milliseconds(), 10), "{call}", call).Replace(announceSQL)
	err = pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		results, err := conn.Conn().PgConn().Exec(ctx, sql).ReadAll()
		if err != nil {
			// otherwise the pool would discard the connection each time another gateway holds the lock
			if conn.Conn().PgConn().TxStatus() != 'I' && !conn.Conn().IsClosed() {
				_, _ = conn.Conn().PgConn().Exec(ctx, "ROLLBACK").ReadAll()
			}
			return err
		}
		values = rowOf(results)
		return nil
	})
	return values, err
}

// rowOf returns the one row that the statements returned.
func rowOf(results []*pgconn.Result) (values []string) {
	for _, r := range results {
		for _, row := range r.Rows {
			values = values[:0]
			for _, v := range row {
				values = append(values, string(v))
			}
		}
	}
	return values
}
