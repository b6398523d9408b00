-- One announcement, as one message to the server: the snapshot is taken after the lock, and nobody else announces meanwhile.
-- {limit}: how long the statement may take, in milliseconds; {call}: what to select: of announce(), fill() or set_aside_next()
-- Result: of announce() epoch, last seq, how many rows it announced, and whether it must be called again at once; null: its
-- memory is to be filled, by fill(), until that returns 0. Then that of poll().
-- SQLSTATE 55P03: another gateway announces, or somebody holds a table that is needed. After any error: ROLLBACK.
-- Index: those of the function
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL synchronous_commit = on;
SET LOCAL lock_timeout = '50ms';
SET LOCAL statement_timeout = {limit};
SET LOCAL idle_in_transaction_session_timeout = '5s';
LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE NOWAIT;
SELECT {call};
SET LOCAL lock_timeout = '5s';   -- who notifies waits at its COMMIT for all who do before: that holds up nobody else
COMMIT
