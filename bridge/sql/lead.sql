-- Takes or keeps the bridge.
-- $1 text: name of the gateway; $2 bigint: its term, 0 if it does not hold the bridge; $3 interval: the lease
-- Result: the term and the mark of the last written message (null: none); no row while another gateway holds the bridge
-- Index: bridge_pkey
SELECT l.now_term, l.mark FROM terasocket.bridge_lead($1, $2, $3) l
