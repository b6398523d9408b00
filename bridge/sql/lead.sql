-- Takes or keeps the bridge.
-- $1 text: name of the gateway; $2 bigint: its term, 0 if it does not hold the bridge; $3 interval: the lease
-- Result: the term; the mark of the last written message (null: none) and how many items of it are written (0: all); whether this gateway
-- was the last to hold the bridge. No row while another gateway holds it
-- Index: bridge_pkey
SELECT l.now_term, l.mark, l.part, l.is_again FROM terasocket.bridge_lead($1, $2, $3) l
