-- Presence: who is online or busy, and with which status (OpenTera's user manager; sheet websocket, sections 5 and 7). It is
-- cluster-wide: each gateway registers its sockets here and holds a lease; when a gateway dies without a word, another one finds the
-- lease expired and takes its clients offline, once.
--
-- A principal's row in terasocket.online is the lock: any transaction that may take it online or offline holds that row until it commits,
-- so that CONNECTED and DISCONNECTED of one principal alternate in the log. Locks are taken in this order: the gateway, then rows of
-- online by (kind, principal). No transaction of a service ever takes one of them: what services report goes to terasocket.busy and
-- terasocket.kicked.

CREATE TABLE terasocket.gateways (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name         text        NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    lease_until  timestamptz NOT NULL,  -- -infinity: declared dead, its clients are being taken offline
    public_url   text
);
COMMENT ON COLUMN terasocket.gateways.public_url IS 'its --public-url; empty: it has none, and goes by the request; null: an older gateway';

CREATE TABLE terasocket.connections (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway      uuid        NOT NULL REFERENCES terasocket.gateways (id),
    socket       bigint,     -- the gateway's own number, so that a repeated report is recognized
    kind         text        NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    principal    integer     NOT NULL,
    since        timestamptz NOT NULL DEFAULT clock_timestamp(),
    client_name  text,
    address      text,
    CONSTRAINT connections_socket UNIQUE (gateway, socket)
);
CREATE INDEX connections_principal ON terasocket.connections (kind, principal);
COMMENT ON TABLE terasocket.connections IS 'a row for every open socket of every gateway';

CREATE TABLE terasocket.online (
    kind          text    NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    principal     integer NOT NULL,
    online_since  timestamptz,   -- null only within the transaction that inserts or deletes the row
    connected_at  timestamptz NOT NULL,   -- when the newest socket was recorded
    offline_at    timestamptz,   -- the last socket is closed; offline is announced at this time, unless one is opened
    status        text,          -- device: JSON text
    status_at     numeric,       -- device: its own timestamp of the status
    PRIMARY KEY (kind, principal)
);
CREATE INDEX online_leaving ON terasocket.online (offline_at) WHERE offline_at IS NOT NULL;
COMMENT ON TABLE terasocket.online IS 'a row for everyone that is online';

-- Kicks of the last minutes: a principal kicked after its newest socket has no grace. OpenTera's login tickets have no counter: they are
-- compared with the kicks here. Rows are only inserted and swept, so that a kicking service waits for nobody.
CREATE TABLE terasocket.kicked (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text        NOT NULL,
    principal    bigint      NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    counter      bigint      NOT NULL DEFAULT 0,
    is_replaced  boolean     NOT NULL DEFAULT false
);
COMMENT ON COLUMN terasocket.kicked.counter IS 'the kick closes the sockets of connect tokens up to it';
COMMENT ON COLUMN terasocket.kicked.is_replaced IS 'a newer socket took the place of older ones: the principal stays online';
CREATE INDEX kicked_principal ON terasocket.kicked (kind, principal);
CREATE INDEX kicked_at ON terasocket.kicked (at);

CREATE TABLE terasocket.busy (
    kind          text    NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    principal     integer NOT NULL,
    session_uuid  text    NOT NULL,
    since         timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_known      boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (kind, principal)
);
COMMENT ON COLUMN terasocket.busy.is_known IS 'the session is, or was, in OpenTera''s table: whoever is in it leaves when it is not there any more';
CREATE INDEX busy_session ON terasocket.busy (session_uuid);
COMMENT ON TABLE terasocket.busy IS 'who is in which session; it outlives being offline, as in OpenTera';
