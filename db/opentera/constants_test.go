package opentera_test

import (
	"testing"

	"terasocket/db/opentera"
)

func TestDemoConstants(t *testing.T) {
	t.Parallel()
	conn := demo(t)
	const user = "SELECT count(*) FROM t_users WHERE user_username = $1 AND id_user = $2 AND user_uuid = $3"
	const participant = "SELECT count(*) FROM t_participants WHERE participant_username = $1 AND id_participant = $2 AND participant_uuid = $3"
	const device = "SELECT count(*) FROM t_devices WHERE $1 = '' AND id_device = $2 AND device_uuid = $3"
	const service = "SELECT count(*) FROM t_services WHERE service_key = $1 AND id_service = $2 AND service_uuid = $3"
	for _, c := range []struct {
		query, name string
		id          int
		uuid        string
	}{
		{user, opentera.DemoSuperadmin, opentera.DemoSuperadminID, opentera.DemoSuperadminUUID},
		{user, opentera.DemoSiteAdmin, opentera.DemoSiteAdminID, opentera.DemoSiteAdminUUID},
		{user, opentera.DemoOtherSiteAdmin, opentera.DemoOtherSiteAdminID, opentera.DemoOtherSiteAdminUUID},
		{user, opentera.DemoSiteUser, opentera.DemoSiteUserID, opentera.DemoSiteUserUUID},
		{user, opentera.DemoProjectAdmin, opentera.DemoProjectAdminID, opentera.DemoProjectAdminUUID},
		{user, opentera.DemoOtherProjectAdmin, opentera.DemoOtherProjectAdminID, opentera.DemoOtherProjectAdminUUID},
		{user, opentera.DemoProjectUser, opentera.DemoProjectUserID, opentera.DemoProjectUserUUID},
		{user, opentera.DemoOtherProjectUser, opentera.DemoOtherProjectUserID, opentera.DemoOtherProjectUserUUID},
		{user, opentera.DemoServiceManager, opentera.DemoServiceManagerID, opentera.DemoServiceManagerUUID},
		{user, opentera.DemoServiceSiteAdmin, opentera.DemoServiceSiteAdminID, opentera.DemoServiceSiteAdminUUID},
		{user, opentera.DemoNoRole, opentera.DemoNoRoleID, opentera.DemoNoRoleUUID},
		{user, opentera.DemoDisabled, opentera.DemoDisabledID, opentera.DemoDisabledUUID},
		{user, opentera.DemoOTP, opentera.DemoOTPID, opentera.DemoOTPUUID},
		{user, opentera.DemoForcedChange, opentera.DemoForcedChangeID, opentera.DemoForcedChangeUUID},
		{user, opentera.DemoTwoGroups, opentera.DemoTwoGroupsID, opentera.DemoTwoGroupsUUID},
		{user, opentera.DemoDeleted, opentera.DemoDeletedID, opentera.DemoDeletedUUID},
		{participant, opentera.DemoParticipant, opentera.DemoParticipantID, opentera.DemoParticipantUUID},
		{participant, opentera.DemoOtherParticipant, opentera.DemoOtherParticipantID, opentera.DemoOtherParticipantUUID},
		{participant, opentera.DemoDisabledParticipant, opentera.DemoDisabledParticipantID, opentera.DemoDisabledParticipantUUID},
		{device, "", opentera.DemoDeviceID, opentera.DemoDeviceUUID},
		{device, "", opentera.DemoOtherDeviceID, opentera.DemoOtherDeviceUUID},
		{device, "", opentera.DemoDisabledDeviceID, opentera.DemoDisabledDeviceUUID},
		{service, "OpenTeraServer", opentera.DemoOpenTeraServiceID, opentera.DemoOpenTeraServiceUUID},
		{service, "FileTransferService", opentera.DemoFileTransferServiceID, opentera.DemoFileTransferServiceUUID},
		{service, "VideoRehabService", opentera.DemoVideoRehabServiceID, opentera.DemoVideoRehabServiceUUID},
	} {
		if count(t, conn, c.query, c.name, c.id, c.uuid) != 1 {
			t.Errorf("demo.sql has no %q with id %d and UUID %s", c.name, c.id, c.uuid)
		}
	}
	// other promises in the comments of the constants
	for what, query := range map[string]string{
		"participants can log in": `SELECT count(*) = 2 FROM t_participants WHERE id_participant IN (1, 61) AND participant_enabled
			AND participant_login_enabled AND participant_token_enabled`,
		"participants are of projects 1 and 4": "SELECT string_agg(id_project::text, ',' ORDER BY id_participant) = '1,4' FROM t_participants WHERE id_participant IN (1, 61)",
		"device 1 is the participant's":        "SELECT count(*) = 1 FROM t_devices_participants WHERE id_device = 1 AND id_participant = 1 AND deleted_at IS NULL",
		"devices are of projects 1 and 4": `SELECT string_agg(id_project::text, ',' ORDER BY id_device) = '1,4' FROM t_devices_projects JOIN t_devices d USING (id_device)
			WHERE id_device IN (1, 15) AND device_enabled AND device_onlineable`,
		"the others are disabled": `SELECT NOT (SELECT device_enabled FROM t_devices WHERE id_device = 11)
			AND NOT (SELECT participant_enabled FROM t_participants WHERE id_participant = 3)`,
	} {
		var ok bool
		if err := conn.QueryRow(t.Context(), query).Scan(&ok); err != nil || !ok {
			t.Errorf("%s: %v, %v", what, ok, err)
		}
	}
}
