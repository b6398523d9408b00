-- The event log: changes, announcements, and the memory of announcements (docs/architecture.md).
-- Tables and data only; functions, triggers and views are in functions/*.sql.
-- OPENTERA stands for the schema of OpenTera's tables: the migrator replaces it with the name.

-- The functions that are applied, and the gateways that may work with them.
CREATE TABLE terasocket.functions (
    one            boolean     PRIMARY KEY DEFAULT true CHECK (one),
    hash           text        NOT NULL,
    formulas       text        NOT NULL,   -- hash of those that compute told and holdings
    compatibility  integer     NOT NULL,
    applied_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE terasocket.functions IS 'the version of functions/*.sql in this database';

-- ---------------------------------------------------------------- 1. captured

CREATE TABLE terasocket.changes (
    xid     xid8        NOT NULL DEFAULT pg_current_xact_id(),
    id      bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    what    text        NOT NULL,
    op      text        NOT NULL,
    rights  boolean     DEFAULT false,
    ids     bigint[],
    body    jsonb,
    PRIMARY KEY (xid, id)
);
COMMENT ON TABLE  terasocket.changes IS 'what changed and is not announced yet; rows are consumed by terasocket.announce()';
COMMENT ON COLUMN terasocket.changes.xid IS 'the transaction that changed it';
COMMENT ON COLUMN terasocket.changes.id IS 'the order of the changes of one transaction';
COMMENT ON COLUMN terasocket.changes.what IS 'an object type, role, message, presence, kick or everything';
COMMENT ON COLUMN terasocket.changes.op IS 'C created, U updated, S soft-deleted and nothing else, R undeleted and nothing else, D deleted, T truncated, L a link of it changed, l the same but not announced by itself';
COMMENT ON COLUMN terasocket.changes.rights IS 'somebody''s tags, or an alias, may follow from it; null: they did, and are announced';
COMMENT ON COLUMN terasocket.changes.ids IS 'primary keys, at most 1,000; null: all of that type';
COMMENT ON COLUMN terasocket.changes.body IS 'of a message, presence or kick';

-- Until when a gateway polls, so that no writer has to notify: microseconds since 1970 by PostgreSQL's clock, 0: none does
-- (functions/poll.sql). A sequence and not a row: it reads the current value whatever the snapshot, leaves no dead rows for a dump to
-- keep, and gives a SERIALIZABLE writer no lock that could make it fail.
CREATE SEQUENCE terasocket.polled_until MINVALUE 0 START 0;
COMMENT ON SEQUENCE terasocket.polled_until IS 'until when writers need not NOTIFY, since a gateway polls: microseconds since 1970; 0: they must';

-- Errors inside triggers. OpenTera's own write succeeded; the change is announced from here.
CREATE TABLE terasocket.capture_errors (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    table_name    text        NOT NULL,
    op            text        NOT NULL,
    sqlstate      text        NOT NULL,
    message       text        NOT NULL,
    context       text,
    what          text,       -- as in changes; null: nothing can be announced
    ids           bigint[],   -- null: all of that type
    announced_at  timestamptz
);
CREATE INDEX capture_errors_waiting ON terasocket.capture_errors (id) WHERE announced_at IS NULL;
COMMENT ON TABLE terasocket.capture_errors IS 'changes that a trigger could not record as it should';

-- ---------------------------------------------------------------- 2. announced

CREATE TABLE terasocket.events (
    seq           bigint      PRIMARY KEY,
    announcement  bigint      NOT NULL,
    at            timestamptz NOT NULL,
    topic         text        NOT NULL,
    type          text        NOT NULL,
    op            text        CHECK (op IN ('C', 'U', 'G', 'D')),
    object_type   text,
    object_id     bigint,
    body          jsonb,
    gone          jsonb,
    present       jsonb,
    former        jsonb,
    former_as_of  bigint
);
-- for resuming clients: what a principal gained and lost
CREATE INDEX events_rights ON terasocket.events (object_type, object_id, seq) WHERE type = 'terasocket.Rights';
CREATE INDEX events_aliases ON terasocket.events (seq) WHERE type IN ('terasocket.Alias', 'terasocket.Settled');

COMMENT ON TABLE  terasocket.events IS 'everything that clients may receive, in order; rows are kept for a bounded time';
COMMENT ON COLUMN terasocket.events.seq IS 'resume cursor';
COMMENT ON COLUMN terasocket.events.announcement IS 'the rows of one announcement move everybody from one committed state to the next';
COMMENT ON COLUMN terasocket.events.at IS 'when the change was captured';
COMMENT ON COLUMN terasocket.events.type IS 'full name of the protobuf message, or terasocket.Rights, Alias, Settled, Kick: for the gateways';
COMMENT ON COLUMN terasocket.events.op IS 'of a DatabaseEvent: C and U the object lives, G it is soft-deleted, D it is gone';
COMMENT ON COLUMN terasocket.events.body IS 'object_value of a DatabaseEvent, else the message as ProtoJSON';
COMMENT ON COLUMN terasocket.events.gone IS 'object_value of the DB_DELETE';
COMMENT ON COLUMN terasocket.events.present IS 'routing keys of those who see the object, or receive the message; of a soft delete: of those who may see data of other objects in its body';
COMMENT ON COLUMN terasocket.events.former IS 'routing keys of those who saw the object before';
COMMENT ON COLUMN terasocket.events.former_as_of IS 'the seq as of whose rights former is judged, if the object was announced since the last Settled row; else it may be older, or null';

CREATE TABLE terasocket.told (
    object_type  text   NOT NULL,
    id           bigint NOT NULL,
    keys         jsonb  NOT NULL,
    gone         jsonb  NOT NULL,
    as_of        bigint,
    PRIMARY KEY (object_type, id)
);
COMMENT ON TABLE  terasocket.told IS 'every living object: its routing keys in the last announced state, and object_value of its DB_DELETE';
COMMENT ON COLUMN terasocket.told.as_of IS 'the seq as of whose rights it was announced last, if that was a part of what was to be announced';

CREATE TABLE terasocket.holdings (
    kind  text    NOT NULL CHECK (kind IN ('user', 'participant', 'device')),
    id    integer NOT NULL,
    tag   text    NOT NULL,
    PRIMARY KEY (kind, id, tag)
);
CREATE INDEX holdings_tag ON terasocket.holdings (tag);
COMMENT ON TABLE terasocket.holdings IS 'which tags each principal holds in the last announced state';

CREATE TABLE terasocket.aliases (
    tag          text   PRIMARY KEY,
    object_type  text   NOT NULL,
    id           bigint NOT NULL,
    keys         jsonb  NOT NULL
);
CREATE INDEX aliases_object ON terasocket.aliases (object_type, id);
COMMENT ON TABLE terasocket.aliases IS 'a tag such as service:5 stands for those who see that object';

-- One row per announcement; the newest is the announcer's memory. Rows are only appended, and removed at the old end: an old snapshot (a
-- dump) keeps dead rows alive, and no query meets them.
CREATE TABLE terasocket.announcements (
    announcement  bigint       PRIMARY KEY,
    last_seq      bigint       NOT NULL,
    snapshot      pg_snapshot,                  -- of the last announcement that left nothing; null: none yet
    is_settled    boolean      NOT NULL         -- no rights were announced since the last Settled row
);
INSERT INTO terasocket.announcements VALUES (0, 0, NULL, true);

CREATE TABLE terasocket.filling (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    fill_type  text    DEFAULT 'start',         -- the next step of fill(); null: all is filled
    fill_id    bigint  NOT NULL DEFAULT 0
);
INSERT INTO terasocket.filling DEFAULT VALUES;

-- An object considered in an announcement.
CREATE TYPE terasocket.touch AS (
    id            bigint,
    at            timestamptz,
    first         bigint,     -- ids of its first and last change
    last          bigint,
    ops           text,       -- of its changes; empty: affected by a change of another object
    is_announced  boolean,    -- false: its memory is updated silently
    rights        boolean,
    as_of         bigint      -- see told
);

-- An object that cannot be announced, until its next change.
CREATE TABLE terasocket.set_aside (
    object_type  text        NOT NULL,
    id           bigint      NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    sqlstate     text        NOT NULL,
    message      text        NOT NULL,
    PRIMARY KEY (object_type, id)
);

CREATE TABLE terasocket.trimmed (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq         bigint  NOT NULL DEFAULT 0,
    is_settled  boolean NOT NULL DEFAULT true
);
INSERT INTO terasocket.trimmed DEFAULT VALUES;
COMMENT ON TABLE  terasocket.trimmed IS 'the highest seq that was trimmed; 0: none';
COMMENT ON COLUMN terasocket.trimmed.is_settled IS 'no rights were announced up to there since the last Settled row';

-- The history to which the log belongs. A row is added whenever the database may not be the same as before: another server, a restart, a
-- restored dump. No seq above old_end and up to begin was given out in the past that this database holds.
CREATE TABLE terasocket.epochs (
    begin              bigint      PRIMARY KEY,
    old_end            bigint      NOT NULL,
    at                 timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason             text        NOT NULL,
    system_identifier  bigint      NOT NULL,
    timeline           integer     NOT NULL,
    started_at         timestamptz NOT NULL,
    database           oid         NOT NULL,
    log                oid         NOT NULL,
    is_gap             boolean     NOT NULL DEFAULT false   -- some earlier events are missing from the log
);
COMMENT ON TABLE terasocket.epochs IS 'the newest row is the current epoch: its seqs are above begin';

-- One row, written by the transaction that it names when the epoch began. A row that was restored or replicated logically has another
-- xmin.
CREATE TABLE terasocket.written_here (xid xid8 PRIMARY KEY DEFAULT pg_current_xact_id());
INSERT INTO terasocket.written_here DEFAULT VALUES;

-- ---------------------------------------------------------------- what is captured

CREATE TABLE terasocket.object_types (
    object_type   text   PRIMARY KEY,     -- OpenTera's name, as in DatabaseEvent.object_type
    place         integer NOT NULL UNIQUE,-- keys are computed in this order: first what others are seen through
    table_name    text   NOT NULL UNIQUE,
    id_key        text   NOT NULL,        -- primary key
    keys          text[] NOT NULL,        -- columns that clients see; a column that this OpenTera lacks is absent
    time_keys     text[] NOT NULL DEFAULT '{}',
    delete_keys   text[] NOT NULL,        -- object_value of a DB_DELETE
    noticed_keys  text[] NOT NULL DEFAULT '{}', -- a change of these is announced, without their value
    rights_keys   text[] NOT NULL DEFAULT '{}'  -- a change of these may change somebody's tags, an alias, or who sees dependent objects
);
COMMENT ON TABLE terasocket.object_types IS 'the 18 kinds of database events, OpenTera''s sheet database-events';

INSERT INTO terasocket.object_types (place, object_type, table_name, id_key, keys, time_keys, delete_keys, noticed_keys, rights_keys) VALUES
(1, 'site', 't_sites', 'id_site',
    '{id_site,site_2fa_required,site_name}', '{}', '{id_site}', '{}', '{deleted_at}'),
(2, 'project', 't_projects', 'id_project',
    '{id_project,id_site,project_description,project_enabled,project_name}', '{}', '{id_project}', '{}', '{id_site,deleted_at}'),
(3, 'user_group', 't_users_groups', 'id_user_group',
    '{id_user_group,user_group_name}', '{}', '{id_user_group}', '{}', '{deleted_at}'),
(4, 'user', 't_users', 'id_user',
    '{id_user,user_2fa_enabled,user_enabled,user_firstname,user_lastname,user_superadmin,user_uuid}', '{}',
    '{id_user,user_uuid}', '{}', '{user_enabled,user_superadmin,deleted_at}'),
(5, 'participant_group', 't_participants_groups', 'id_participant_group',
    '{id_participant_group,id_project,participant_group_name}', '{}', '{id_participant_group}', '{}', '{}'),
(6, 'participant', 't_participants', 'id_participant',
    '{id_participant,id_participant_group,id_project,participant_email,participant_enabled,participant_name,participant_token_enabled,participant_uuid}', '{}',
    '{id_participant,participant_uuid}', '{}', '{participant_enabled,deleted_at}'),
(7, 'device', 't_devices', 'id_device',
    '{device_enabled,device_name,device_uuid,id_device,id_device_subtype,id_device_type}', '{}',
    '{id_device,device_uuid}', '{}', '{device_enabled,deleted_at}'),
(8, 'service', 't_services', 'id_service',
    '{id_service,service_clientendpoint,service_default_config,service_editable_config,service_enabled,service_endpoint,service_endpoint_device,service_endpoint_participant,service_endpoint_user,service_has_assets,service_has_tests,service_hostname,service_key,service_name,service_port,service_system,service_uuid}', '{}',
    '{id_service,service_key}', '{}', '{service_uuid,deleted_at}'),
(9, 'session_type', 't_sessions_types', 'id_session_type',
    '{id_service,id_session_type,session_type_category,session_type_color,session_type_name,session_type_service_key,session_type_service_uuid}', '{}',
    '{id_session_type,id_service}', '{}', '{deleted_at}'),
(10, 'test_type', 't_tests_types', 'id_test_type',
    '{id_service,id_test_type,test_type_description,test_type_has_json_format,test_type_has_web_editor,test_type_has_web_format,test_type_key,test_type_name,test_type_uuid}', '{}',
    '{id_test_type,test_type_uuid}', '{}', '{id_service,deleted_at}'),
(11, 'session_type_site', 't_sessions_types_sites', 'id_session_type_site',
    '{id_session_type,id_session_type_site,id_site}', '{}', '{id_session_type_site}', '{}', '{}'),
(12, 'session_type_project', 't_sessions_types_projects', 'id_session_type_project',
    '{id_project,id_session_type,id_session_type_project}', '{}', '{id_session_type_project}', '{}', '{}'),
(13, 'session_type_service', 't_sessions_types_services', 'id_session_type_service',
    '{id_service,id_session_type,id_session_type_service}', '{}', '{id_session_type_service}', '{}', '{}'),
(14, 'session', 't_sessions', 'id_session',
    '{id_creator_device,id_creator_participant,id_creator_service,id_creator_user,id_session,id_session_type,session_duration,session_name,session_start_datetime,session_status,session_uuid}',
    '{session_start_datetime}', '{id_session,session_uuid}', '{}', '{id_creator_device,id_creator_participant,id_creator_service,id_creator_user,deleted_at}'),
(15, 'asset', 't_assets', 'id_asset',
    '{asset_datetime,asset_expiration_datetime,asset_name,asset_service_uuid,asset_type,asset_uuid,id_asset,id_device,id_participant,id_service,id_session,id_user}',
    '{asset_datetime,asset_expiration_datetime}', '{id_asset,asset_uuid}', '{}', '{}'),
(16, 'test', 't_tests', 'id_test',
    '{id_device,id_participant,id_service,id_session,id_test,id_test_type,id_user,test_datetime,test_name,test_status,test_summary,test_uuid}',
    '{test_datetime}', '{id_test,test_uuid}', '{}', '{}'),
(17, 'test_invitation', 't_tests_invitations', 'id_test_invitation',
    '{id_device,id_participant,id_project,id_session,id_test_invitation,id_test_type,id_user,test_invitation_count,test_invitation_creation_date,test_invitation_expiration_date,test_invitation_key,test_invitation_max_count,test_invitation_message}',
    '{test_invitation_creation_date,test_invitation_expiration_date}', '{id_test_invitation,test_invitation_key}', '{}', '{}'),
(18, 'server_settings', 't_server_settings', 'id_server_settings',
    '{id_server_settings,server_settings_name}', '{}', '{id_server_settings}', '{server_settings_value}', '{}');

-- Rows of link and role tables: a change of what.id_key, announced (op L) or only remembered (op l).
CREATE TABLE terasocket.links (
    table_name    text    NOT NULL,
    what          text    NOT NULL,
    id_key        text    NOT NULL,   -- the column with the id of what
    keys          text[]  NOT NULL,   -- further columns: if neither these nor deleted_at change, nothing is recorded
    is_announced  boolean NOT NULL,
    rights        boolean NOT NULL,
    PRIMARY KEY (table_name, what)
);
INSERT INTO terasocket.links (table_name, what, id_key, keys, is_announced, rights) VALUES
('t_devices_sites',         'device',       'id_device',       '{id_site}',         true,  false),
('t_services_projects',     'service',      'id_service',      '{id_project}',      true,  true),
('t_services_sites',        'service',      'id_service',      '{id_site}',         true,  true),
('t_sessions_users',        'session',      'id_session',      '{id_user}',         true,  false),
('t_sessions_participants', 'session',      'id_session',      '{id_participant}',  true,  false),
('t_sessions_devices',      'session',      'id_session',      '{id_device}',       false, false),
('t_sessions_types_sites',  'session_type', 'id_session_type', '{id_site}',         true,  true),
('t_tests_types_sites',     'test_type',    'id_test_type',    '{id_site}',         true,  true),
('t_users_users_groups',    'user',         'id_user',         '{id_user_group}',   false, true),
('t_services_access',       'user_group',   'id_user_group',   '{id_service_role}', false, true),
('t_services_roles',        'role',         'id_service_role', '{id_project,id_site,id_service,service_role_name}', false, true);
