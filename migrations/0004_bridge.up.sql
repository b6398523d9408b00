-- The bridge to the Redis of a running OpenTera: which gateway holds it, how far it has read, and whom it has reported to OpenTera's user
-- manager as online (functions/bridge.sql).

CREATE TABLE terasocket.bridge (
    one          boolean     PRIMARY KEY DEFAULT true CHECK (one),
    term         bigint      NOT NULL,   -- raised by each gateway that takes over: later calls of an earlier term are refused
    holder       text,                   -- name of the gateway
    lease_until  timestamptz NOT NULL,
    taken        bigint      NOT NULL,   -- items from Redis written in this term
    mark         bytea,                  -- SHA-256 of the last message from Redis that was written or refused
    part         integer     NOT NULL    -- items of it that were; 0: all
);
INSERT INTO terasocket.bridge VALUES (true, 1, NULL, '-infinity', 0, NULL, 0);
COMMENT ON TABLE terasocket.bridge IS 'which gateway is the bridge to OpenTera''s Redis, and how far it has read';

CREATE TABLE terasocket.bridge_told (
    kind       text        NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    principal  integer     NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    gone       boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (kind, principal)
);
COMMENT ON TABLE terasocket.bridge_told IS 'whom OpenTera''s user manager believes to be online because we said so';
COMMENT ON COLUMN terasocket.bridge_told.gone IS 'it was told that they left; the next reconciliation shows whether it has heard that';

-- Principals whose sockets changed since the bridge last looked. Rows are added while a gateway holds the bridge and for a minute after.
CREATE TABLE terasocket.bridge_moves (
    id         bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text    NOT NULL,
    principal  integer NOT NULL
);
