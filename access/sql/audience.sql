-- Who may see: the principals that hold each of these routing keys.
-- $1 text[] routing keys -> ord (place in $1, from 1), kind (1 user, 2 participant, 3 device), ids; no row: nobody
-- Index: terasocket_t_services_roles_*, terasocket_t_services_access_*, terasocket_t_users_users_groups_*
SELECT ord, kind, ids FROM terasocket.audience($1)
