-- Why somebody may see an event, or not.
-- $1 bigint seq of the event, $2 text kind of the client, $3 text its UUID -> one jsonb object, see migrations/functions/explain.sql
-- Index: the primary key of terasocket.events, terasocket_t_users_users_groups_*, terasocket_t_services_access_*
SELECT terasocket.explain($1, $2, $3)
