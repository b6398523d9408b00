-- Whether the epochs after one were begun for no other reason than that the server was started again.
-- $1 bigint: that epoch
-- Index: the primary key of epochs
SELECT coalesce(bool_and(e.reason = 'the server was started again'), false)
FROM   terasocket.epochs e WHERE e.begin > $1
