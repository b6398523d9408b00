-- Whether all epochs after a given one were begun only because the server was restarted.
-- $1 bigint: that epoch
-- Index: the primary key of epochs
SELECT coalesce(bool_and(e.reason = 'the server was started again'), false)
FROM   terasocket.epochs e WHERE e.begin > $1
