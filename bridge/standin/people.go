package standin

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Person is a user, participant or device that is not deleted. Project and Site are set for participants.
type Person struct{ Name, Project, Site string }

// People looks up a user, participant or device by UUID; ok is false if there is none.
type People func(ctx context.Context, kind, uuid string) (p Person, ok bool, err error)

var peopleSQL = map[string]string{
	"user": "SELECT concat_ws(' ', user_firstname, user_lastname), '', '' FROM t_users WHERE user_uuid = $1 AND deleted_at IS NULL",
	"participant": `SELECT p.participant_name, coalesce(o.project_name, ''), coalesce(s.site_name, '')
	                FROM t_participants p LEFT JOIN t_projects o USING (id_project) LEFT JOIN t_sites s USING (id_site)
	                WHERE p.participant_uuid = $1 AND p.deleted_at IS NULL`,
	"device": "SELECT device_name, '', '' FROM t_devices WHERE device_uuid = $1 AND deleted_at IS NULL",
}

// PeopleOf looks people up in an OpenTera database.
func PeopleOf(pool *pgxpool.Pool) People {
	return func(ctx context.Context, kind, uuid string) (p Person, ok bool, err error) {
		err = pool.QueryRow(ctx, peopleSQL[kind], uuid).Scan(&p.Name, &p.Project, &p.Site)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return Person{}, false, nil
		case err != nil:
			return Person{}, false, fmt.Errorf("look up a %s: %w", kind, err)
		}
		return p, true, nil
	}
}
