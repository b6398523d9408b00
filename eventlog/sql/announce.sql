-- One announcement, sent as one simple query: the snapshot is taken after the lock, and nobody else announces meanwhile.
-- {limit}: statement time-out in milliseconds; {call}: what to select, from announce(), fill() or set_aside_next()
-- Result: of announce() epoch, last seq, number of rows announced, and whether it must be called again at once; null: the memory must be
-- filled, by fill(), until that returns 0. Then that of poll().
-- SQLSTATE 55P03: another gateway announces, or somebody holds a lock on a table that is needed. After any error: ROLLBACK.
-- Index: those of the function
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL synchronous_commit = on;
SET LOCAL lock_timeout = '50ms';
SET LOCAL statement_timeout = {limit};
SET LOCAL idle_in_transaction_session_timeout = '5s';
LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE NOWAIT;
SELECT {call};
SET LOCAL lock_timeout = '5s';   -- a notifier waits at its COMMIT for all earlier ones: that delays nobody else
COMMIT
