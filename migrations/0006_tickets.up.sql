-- Tickets of OpenTera's login have no counter: which kicks were before one is asked here.
ALTER TABLE terasocket.kicked ADD COLUMN counter bigint NOT NULL DEFAULT 0, ADD COLUMN is_replaced boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN terasocket.kicked.counter IS 'the kick closes the sockets of connect tokens up to it';
COMMENT ON COLUMN terasocket.kicked.is_replaced IS 'a newer socket took the place of older ones: the principal stays online';
