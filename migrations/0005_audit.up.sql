-- Deliveries (serve --audit-deliveries): a row per socket and flush, without the events' contents. Rows are only inserted; partitions of
-- a week are created ahead and dropped after their retention (functions/audit.sql).
CREATE TABLE terasocket.deliveries (
    kind        text        NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    uuid        text        NOT NULL,
    principal   integer     NOT NULL,
    gateway     text        NOT NULL,
    number      bigint      NOT NULL,
    connection  bigint      NOT NULL,
    opened      timestamptz NOT NULL,
    address     text,
    mode        text        NOT NULL CHECK (mode IN ('live', 'replay', 'delete', 'snapshot', 'console')),
    frames      integer     NOT NULL,
    seqs        int8range[] NOT NULL,
    first_seq   bigint,
    last_seq    bigint,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    -- a repeated report is recorded once; also serves queries by recipient
    PRIMARY KEY (kind, uuid, until, gateway, number)
) PARTITION BY RANGE (until);
-- for queries by event: rows are nearly in the order of seq
CREATE INDEX deliveries_seqs ON terasocket.deliveries USING brin (first_seq, last_seq) WITH (autosummarize = on);

COMMENT ON TABLE  terasocket.deliveries IS 'which events were sent to whom, when, where to; rows are only added, and kept by --audit-retention';
COMMENT ON COLUMN terasocket.deliveries.number IS 'the gateway''s number of the row, from 1 at its start';
COMMENT ON COLUMN terasocket.deliveries.connection IS 'the gateway''s number of the socket, "conn" in its log; 0 for the console';
COMMENT ON COLUMN terasocket.deliveries.opened IS 'when the socket was opened';
COMMENT ON COLUMN terasocket.deliveries.mode IS 'live; replay: to a client that came back; delete: a DB_DELETE, which has only an object''s keys; snapshot: of the presence of others, whose frames have no seq; console: its contents were shown there';
COMMENT ON COLUMN terasocket.deliveries.seqs IS 'exactly the events that were sent; first_seq and last_seq are their bounds';
COMMENT ON COLUMN terasocket.deliveries.until IS 'when the last of them was sent, by the clock of the gateway';
