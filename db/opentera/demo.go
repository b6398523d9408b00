package opentera

// The names, ids and UUIDs of the demo installation that people and tests use. TestDemoConstants compares them with demo.sql.

const (
	// DemoPassword is the password of every user, and of every participant with a login.
	DemoPassword = "terasocket-demo"

	// DemoPasswordQuickHash is a bcrypt hash of DemoPassword with 4 rounds instead of 12, for tests that verify passwords: under -race
	// the real ones take seconds. See dbtest.QuickPasswords.
	DemoPasswordQuickHash = "$2b$04$eZ2hgy/jsfL.ol5XlUyq6.U7P/FYpLHyvTiz.NteTRY6vVMur1gRy"

	// DemoOTPSecret is the base32 secret of DemoOTP's second factor.
	DemoOTPSecret = "JBSWY3DPEHPK3PXP"
)

// Usernames. User ids and UUIDs follow under the same names.
const (
	DemoSuperadmin        = "admin"             // superadmin: sees everything
	DemoSiteAdmin         = "claire.site"       // OpenTera site admin of site 1: projects 1, 2, 3
	DemoOtherSiteAdmin    = "louis.site"        // OpenTera site admin of site 2: projects 4, 5, 6
	DemoSiteUser          = "simon.siteuser"    // OpenTera site user of site 1: the site, no project
	DemoProjectAdmin      = "paul.project"      // OpenTera project admin of project 1
	DemoOtherProjectAdmin = "patricia.project"  // OpenTera project admin of project 4, project user of project 5
	DemoProjectUser       = "ursula.user"       // OpenTera project user of project 1
	DemoOtherProjectUser  = "ulysse.user"       // OpenTera project user of project 5
	DemoServiceManager    = "maria.manager"     // role "manager" of VideoRehabService on project 2, no OpenTera role
	DemoServiceSiteAdmin  = "victor.videorehab" // role "admin" of VideoRehabService on site 3, no OpenTera role: projects 7, 8
	DemoNoRole            = "nora.norole"       // no role anywhere
	DemoDisabled          = "didier.disabled"   // disabled; otherwise as ProjectUser
	DemoOTP               = "otto.otp"          // 2FA by OTP, secret DemoOTPSecret; otherwise as ProjectUser
	DemoForcedChange      = "fatou.force"       // must change the password; project user of 7, project admin of 8
	DemoTwoGroups         = "greta.groups"      // project user of projects 1 and 5, through two groups
	DemoDeleted           = "gaston.gone"       // soft-deleted
)

// id_user of the usernames above.
const (
	DemoSuperadminID        = 1
	DemoSiteAdminID         = 3
	DemoOtherSiteAdminID    = 4
	DemoSiteUserID          = 5
	DemoProjectAdminID      = 7
	DemoOtherProjectAdminID = 8
	DemoProjectUserID       = 9
	DemoOtherProjectUserID  = 10
	DemoServiceManagerID    = 11
	DemoServiceSiteAdminID  = 12
	DemoNoRoleID            = 13
	DemoDisabledID          = 14
	DemoOTPID               = 15
	DemoForcedChangeID      = 16
	DemoTwoGroupsID         = 17
	DemoDeletedID           = 41
)

// user_uuid of the usernames above.
const (
	DemoSuperadminUUID        = "606db7bf-089a-5dd8-b6e9-2e4082d37e28"
	DemoSiteAdminUUID         = "c7b84332-3666-51e1-a9a2-e3faf015c4a2"
	DemoOtherSiteAdminUUID    = "c4780609-de3a-566f-8ce3-295b45167740"
	DemoSiteUserUUID          = "011d2268-bb87-5314-b7a0-331617fd73e1"
	DemoProjectAdminUUID      = "0f381083-a1b8-5b98-9ab8-abdcebfab2b6"
	DemoOtherProjectAdminUUID = "bd03202e-0616-5314-bc91-0d00e2093620"
	DemoProjectUserUUID       = "91b0b605-b9be-598e-ba28-aae62045b2f8"
	DemoOtherProjectUserUUID  = "6d52205f-195a-5a91-a9bb-57036afa83ef"
	DemoServiceManagerUUID    = "f6236f3b-7547-532a-bd06-3ea90d203d35"
	DemoServiceSiteAdminUUID  = "9ce5b1dd-e68b-5f06-b279-955cc3b3e0a9"
	DemoNoRoleUUID            = "e5980e90-2ae4-5720-a1db-342faf64a082"
	DemoDisabledUUID          = "e8b7f77c-df79-572a-a4a6-6ade85272e61"
	DemoOTPUUID               = "1e51ecdd-b2a1-5437-9f02-9f9fa0f438aa"
	DemoForcedChangeUUID      = "7e62ee38-50d2-52b6-b335-1bc937e39dec"
	DemoTwoGroupsUUID         = "bb324613-60c3-56f3-83e7-cb3477050bce"
	DemoDeletedUUID           = "a8ee527d-550e-5555-b307-751ebdbd28db"
)

// Participants: the first is of project 1, linked to DemoDevice, the second of project 4; both can log in by password and by static
// token. The third is of project 1 and disabled.
const (
	DemoParticipant             = "lucie.patient"
	DemoParticipantID           = 1
	DemoParticipantUUID         = "17fabe2b-a793-5340-98f3-47022f4f7bbb"
	DemoOtherParticipant        = "rene.patient"
	DemoOtherParticipantID      = 61
	DemoOtherParticipantUUID    = "b9be036d-018a-586a-9c42-192e86962a44"
	DemoDisabledParticipant     = "denise.disabled"
	DemoDisabledParticipantID   = 3
	DemoDisabledParticipantUUID = "4c84ca96-6b3f-5211-a028-43621422fb5b"
)

// Devices: the first is at site 1, of project 1, the second at site 2, of project 4; both may go online. The third is at site 1 and
// disabled.
const (
	DemoDeviceID           = 1
	DemoDeviceUUID         = "d4745145-f361-593f-bafd-a4f7fd28214e"
	DemoOtherDeviceID      = 15
	DemoOtherDeviceUUID    = "e331d42b-2c1c-5fdb-be6a-c8a932245ea5"
	DemoDisabledDeviceID   = 11
	DemoDisabledDeviceUUID = "6cbe49bd-5dd0-51da-8398-7778023c4692"
)

// Services, by service_key.
const (
	DemoOpenTeraServiceID       = 1
	DemoOpenTeraServiceUUID     = "00000000-0000-0000-0000-000000000001"
	DemoFileTransferServiceID   = 3
	DemoFileTransferServiceUUID = "dfadc7d3-2fcb-5e51-a3c9-0f2e6424cec5"
	DemoVideoRehabServiceID     = 5
	DemoVideoRehabServiceUUID   = "10269241-27f8-5318-b324-e2267fac1a96"
)
