-- The door: cluster-wide state of logins and logouts (OpenTera's sheet login).

-- Connect tokens, which websocket URLs carry. Shown once, stored as SHA-256, bound to a principal, valid for 60 s and one handshake.
-- Unlogged: a server crash costs a login, and the WAL holds no copy of them.
CREATE SEQUENCE terasocket.connect_tokens_counter;
CREATE UNLOGGED TABLE terasocket.connect_tokens (
    hash        bytea       PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    uuid        text        NOT NULL,
    counter     bigint      NOT NULL DEFAULT nextval('terasocket.connect_tokens_counter'),
    expires_at  timestamptz NOT NULL DEFAULT clock_timestamp() + interval '60 seconds'
);
CREATE INDEX connect_tokens_expiry ON terasocket.connect_tokens (expires_at);
CREATE INDEX connect_tokens_principal ON terasocket.connect_tokens (kind, uuid);
COMMENT ON COLUMN terasocket.connect_tokens.counter IS 'a kick closes the sockets of tokens that were minted before it';

-- Signing keys, several per name: the one that never retires signs; older ones verify until they retire.
CREATE TABLE terasocket.signing_keys (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text        NOT NULL CHECK (name IN ('user', 'participant', 'service')),
    key         text        NOT NULL CHECK (length(key) = 32),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    retires_at  timestamptz
);
CREATE UNIQUE INDEX signing_keys_signs ON terasocket.signing_keys (name) WHERE retires_at IS NULL;
COMMENT ON COLUMN terasocket.signing_keys.retires_at IS 'null: the key that signs; else it verifies until then';

-- Disabled tokens are refused until they expire. Logged: a crash must not revive one.
CREATE TABLE terasocket.disabled_tokens (
    hash        bytea       PRIMARY KEY,   -- SHA-256 of the token
    expires_at  timestamptz NOT NULL
);
CREATE INDEX disabled_tokens_expiry ON terasocket.disabled_tokens (expires_at);

-- Login attempts, counted before the comparison, by the username as given, whether it exists or not. Unlogged: a server crash resets all
-- attempts.
CREATE UNLOGGED TABLE terasocket.login_attempts (
    kind        text        NOT NULL CHECK (kind IN ('user', 'participant', 'otp')),
    who         bytea       NOT NULL,   -- SHA-256 of the username, or of the id of a user for otp
    attempts    integer     NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (kind, who)
);

-- Failures by address (an IPv6 address by its /64), for all gateways: 60 at once, then one a second. until is when they are forgotten.
CREATE UNLOGGED TABLE terasocket.address_failures (
    address  text        PRIMARY KEY,
    until    timestamptz NOT NULL
);

-- Logins with a correct password that await a second step.
CREATE UNLOGGED TABLE terasocket.login_sessions (
    hash        bytea       PRIMARY KEY,   -- SHA-256 of the secret
    id_user     integer     NOT NULL,
    expires_at  timestamptz NOT NULL DEFAULT clock_timestamp() + interval '15 minutes'
);

-- The last time step of which a user has shown the code: a code is valid once.
CREATE TABLE terasocket.otp_steps (
    id_user  integer PRIMARY KEY,
    step     bigint  NOT NULL
);
