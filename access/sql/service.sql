-- The key of service tokens, and the service with this UUID where it may call us: alive and enabled.
-- $1 service_uuid -> signing key, id_service, service_key (both null: no such service)
-- Index: t_services_service_uuid_key
SELECT k.key, s.id, s.key
FROM   terasocket.service_token_key() k (key) LEFT JOIN terasocket.service($1) s ON true
