-- The keys of service tokens, and the service with this UUID if it may call us: neither deleted nor disabled.
-- $1 service_uuid -> keys that verify, id_service, service_key (both null: no such service)
-- Index: t_services_service_uuid_key
SELECT k.keys, s.id, s.key
FROM   terasocket.verifying_keys('service') k (keys) LEFT JOIN terasocket.service($1) s ON true
