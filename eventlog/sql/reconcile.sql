-- Compares what some principals hold with OpenTera's role tables; differences are recorded as changes.
-- $1 text: kind; $2 integer: those beyond this id; $3 integer: how many at most
-- Result: the last one that was compared, null at the end; how many differ
-- Index: those of reconcile()
SELECT last, different FROM terasocket.reconcile($1, $2, $3)
