-- Who was sent what (serve --audit-deliveries): a row for each socket and flush. Rows are only added; whole weeks are made ahead and
-- dropped when their time is over (functions/audit.sql). Never what was in an event.
CREATE TABLE terasocket.deliveries (
    kind        text        NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    uuid        text        NOT NULL,
    principal   integer     NOT NULL,
    gateway     text        NOT NULL,
    connection  bigint      NOT NULL,
    opened      timestamptz NOT NULL,
    address     text,
    mode        text        NOT NULL CHECK (mode IN ('live', 'replay', 'snapshot')),
    frames      integer     NOT NULL,
    seqs        int8range[] NOT NULL,
    first_seq   bigint,
    last_seq    bigint,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL,
    -- what is said twice is recorded once; and the index for the question what somebody was sent
    PRIMARY KEY (kind, uuid, until, gateway, connection, mode)
) PARTITION BY RANGE (until);
-- for the question who was sent an event: rows come nearly in the order of seq
CREATE INDEX deliveries_seqs ON terasocket.deliveries USING brin (first_seq, last_seq) WITH (autosummarize = on);

COMMENT ON TABLE  terasocket.deliveries IS 'which events were sent to whom, when, where to; rows are only added, and kept by --audit-retention';
COMMENT ON COLUMN terasocket.deliveries.connection IS 'the gateway''s number of the socket, "conn" in its log';
COMMENT ON COLUMN terasocket.deliveries.opened IS 'when the socket was opened';
COMMENT ON COLUMN terasocket.deliveries.mode IS 'live; replay: to a client that came back; snapshot: of the presence of others, whose frames have no seq';
COMMENT ON COLUMN terasocket.deliveries.seqs IS 'exactly the events that were sent; first_seq and last_seq are their bounds';
COMMENT ON COLUMN terasocket.deliveries.until IS 'when the last of them was sent, by the clock of the gateway';
