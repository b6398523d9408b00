package console_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

func TestMain(m *testing.M) { os.Exit(gatewaytest.Main(m)) }

// serve starts the real program on a database of its own.
func serve(t *testing.T, args ...string) (gateway *gatewaytest.Gateway, databaseURL string) {
	t.Helper()
	databaseURL = dbtest.New(t, dbtest.OpenTera("migrated", migrations.Up, dbtest.QuickPasswords))
	mayBrowse(t)
	program, err := gatewaytest.Program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), gatewaytest.Limit)
	defer cancel()
	gateway, err = gatewaytest.Start(ctx, gatewaytest.Config{Program: program, Database: databaseURL, Args: append([]string{"--plain-http", "--drain-time", "200ms"}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		gateway.Kill()
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", &gateway.Log)
		}
	})
	return gateway, databaseURL
}

// guest opens a socket that stays open for the test; the channel reports how it ended.
func guest(t *testing.T, gateway *gatewaytest.Gateway, databaseURL, kind, uuid string) (ended chan error) {
	t.Helper()
	token := dbtest.One[string](t, dbtest.Conn(t, databaseURL), "SELECT terasocket.create_connect_token($1, $2)", kind, uuid)
	conn, _, err := gatewaytest.Dial(t.Context(), gateway.URL+"/wss/"+kind+"?id="+token)
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() {
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				ended <- err
				return
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	return ended
}

// hostile is a name that would run if it became markup.
const hostile = `<img src=x onerror="document.title='hurt'">`

// signIn fills the dialog for OpenTera's credentials.
func (p *page) signIn(username string) {
	p.t.Helper()
	p.fill("dialog input[name=name]", username)
	p.fill("dialog input[name=password]", opentera.DemoPassword)
	p.click("dialog form button.main", "")
}

// words are the page's texts, in its two languages.
type words struct {
	language                                                                       string
	sockets, examine, thisOne, disconnect, disconnected, may, mayNot, show, refuse string
	connected, cut, missed, pause, goOn, participants, inSession, everybody        string
}

var inWords = []words{
	{"en", "Sockets", "Examine again", "this one", "Disconnect", "is disconnected", "may see it", "may not see it", "Show what is in it", "does not let",
		"Connected", "Cut the network", "Missed events received", "Pause", "Go on", "Participants", "In session", "Superadmins"},
	{"fr", "Connexions", "Réexaminer", "celle-ci", "Déconnecter", "est déconnecté", "peut le voir", "ne peut pas le voir", "Montrer son contenu", "ne permet pas",
		"Connecté", "Couper le réseau", "Manqués, et arrivés maintenant", "Suspendre", "Reprendre", "Participants", "En séance", "Superadministrateurs"},
}

// Every view, on a desktop in English and on a phone in French.
func TestViews(t *testing.T) {
	t.Parallel()
	for i, w := range inWords {
		t.Run(w.language, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && i > 0 {
				t.Skip("one of the two will do")
			}
			gateway, databaseURL := serve(t)
			conn := dbtest.Conn(t, databaseURL)
			p := browse(t, gateway.Admin+"/console/", []int64{1280, 390}[i], 800, w.language)
			p.isWell(w)
			p.whoIsHere(w, gateway, databaseURL)
			p.whyNot(w, conn)
			p.asAClient(w, conn)
			p.keys()
			if title := eval[string](p, "document.title"); strings.Contains(title, "hurt") {
				t.Error("a name has run")
			}
		})
	}
}

// fits fails if anything overflows to the side.
func (p *page) fits() {
	p.t.Helper()
	if wide := eval[string](p, `document.documentElement.scrollWidth <= innerWidth ? '' : [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth)
		.map((e) => e.tagName + '.' + e.className + ' ' + e.getBoundingClientRect().right).join(', ')`); wide != "" {
		p.t.Errorf("wider than the screen: %s", wide)
	}
}

func (p *page) isWell(w words) {
	p.t.Helper()
	p.sees(".tiles", w.sockets)
	p.sees("main", w.examine, w.thisOne)
	p.until("document.querySelectorAll('.plot canvas').length === 4")
	p.until("document.documentElement.lang === '" + w.language + "'")
	p.sees(".finding", "--public-url")
	p.fits()
}

func (p *page) whoIsHere(w words, gateway *gatewaytest.Gateway, databaseURL string) {
	p.t.Helper()
	conn := dbtest.Conn(p.t, databaseURL)
	dbtest.Exec(p.t, conn, "UPDATE t_participants SET participant_name = $1 WHERE id_participant = 1", hostile)
	lucie := guest(p.t, gateway, databaseURL, "participant", opentera.DemoParticipantUUID)
	guest(p.t, gateway, databaseURL, "device", opentera.DemoDeviceUUID)
	guest(p.t, gateway, databaseURL, "user", opentera.DemoProjectAdminUUID)
	dbtest.Eventually(p.t, "all three are online", func() bool { return dbtest.One[int](p.t, conn, "SELECT count(*) FROM terasocket.online") == 3 })
	dbtest.Exec(p.t, conn, "SELECT terasocket.device_status(1, '{\"battery\": 73}', 1)")
	dbtest.Exec(p.t, conn, `SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', json_build_object('@type', 'type.googleapis.com/opentera.protobuf.JoinSessionEvent',
		'sessionUuid', session_uuid, 'sessionParticipants', json_build_array($1::text))::jsonb) FROM t_sessions WHERE session_status < 2 AND deleted_at IS NULL ORDER BY id_session LIMIT 1`, opentera.DemoParticipantUUID)
	p.open("people")
	p.sees(".groups", hostile, "Télé-AVC", "Centre de réadaptation de l'Estrie", "battery: 73", w.inSession)
	p.click(".toggle", w.participants)
	p.until("!document.querySelector('.groups').innerText.includes('battery')")
	p.fits()

	// Ursula may not, the superadmin may
	p.expect("403")
	p.click(".person button", w.disconnect)
	p.signIn(opentera.DemoProjectUser)
	p.click("dialog .danger", w.disconnect)
	p.sees(".toasts", w.refuse)
	p.click("#sign", "")
	p.until("!document.querySelector('.signed')")
	p.click(".person button", w.disconnect)
	p.signIn(opentera.DemoSuperadmin)
	p.click("dialog .danger", w.disconnect)
	p.sees(".toasts", w.disconnected)
	if err := <-lucie; !websocket.IsCloseError(err, 4000) {
		p.t.Errorf("the socket ended with %v", err)
	}
	if gateway.Log.Count("op=disconnect principal=user:1 kind=participant") != 1 {
		p.t.Error("no line of the log says who disconnected whom")
	}
	p.click("#sign", "")
}

func (p *page) whyNot(w words, conn *pgx.Conn) {
	p.t.Helper()
	p.open("log")
	dbtest.Exec(p.t, conn, "UPDATE t_participants SET participant_email = 'secret@example.org' WHERE id_participant = 1")
	p.fill("main .search", "participant")
	p.click("main tr[tabindex]", "participant 1")
	p.choose("Ulysse")
	p.sees(".verdict", w.mayNot)
	p.sees(".explained", "Douleur chronique")
	p.choose("Sylvie")
	p.sees(".verdict", w.may)
	p.fill("dialog .search", "onerror")
	p.sees("dialog .found", hostile)
	if strings.Contains(p.text("body"), "secret@") {
		p.t.Error("what is in the event is shown without a sign-in")
	}
	p.expect("403")
	p.click("dialog button", w.show)
	p.signIn(opentera.DemoProjectUser)
	p.sees("dialog .inside .wrong", "OpenTera")
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until("!document.querySelector('dialog')")
	p.click("#sign", "")
	p.until("!document.querySelector('.signed')")
	p.click("main tr[tabindex]", "participant 1")
	p.click("dialog button", w.show)
	p.signIn(opentera.DemoSuperadmin)
	p.sees("dialog.side pre", "secret@example.org")
	if n := dbtest.One[int](p.t, conn, "SELECT count(*) FROM terasocket.changes WHERE body::text LIKE '%console body of event%'") +
		dbtest.One[int](p.t, conn, "SELECT count(*) FROM terasocket.events WHERE body::text LIKE '%console body of event%' AND body::text LIKE '%"+opentera.DemoSuperadminUUID+"%'"); n == 0 {
		p.t.Error("the access is not recorded")
	}
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until("!document.querySelector('dialog')")
	p.fits()
}

func (p *page) asAClient(w words, conn *pgx.Conn) {
	p.t.Helper()
	rename := func(name string) {
		dbtest.Exec(p.t, conn, "UPDATE t_participants SET participant_name = $1 WHERE id_participant = 1", name)
	}
	p.open("client")
	p.expect("401")
	p.fill("form input[name=name]", opentera.DemoSiteAdmin)
	p.fill("form input[name=password]", "wrong")
	p.click("form button.main", "")
	p.until("document.querySelector('form .wrong').innerText !== ''")
	p.signInAsClient(opentera.DemoSiteAdmin, false)
	p.sees(".bar .state", w.connected)
	rename("live " + hostile)
	p.sees(".frames", "DB_UPDATE", "live "+hostile)
	p.until("document.querySelector('.legend').innerText.match(/\\d/)")
	p.click("button", w.cut)
	p.sees(".frames .mark_cut", "seq")
	rename("missed")
	p.sees(".frames", w.missed)
	p.until("[...document.querySelectorAll('.frame')].some((f) => f.innerText.includes('missed') && f.querySelector('.missed'))")
	p.click("button", w.pause)
	rename("while it pauses")
	p.sees(".pause", w.goOn+" (1)")
	if strings.Contains(p.text(".frames"), "while it pauses") {
		p.t.Error("the log does not pause")
	}
	p.click("button", w.goOn)
	p.sees(".frames", "while it pauses")
	p.fill(".bar .search", "while")
	p.until("!document.querySelector('.frames').innerText.includes('live ')")
	p.click(".frame summary", "while it pauses")
	p.sees(".frame pre", `"objectType": "participant"`, "while it pauses")
	p.fits()
	dbtest.Exec(p.t, conn, "SELECT terasocket.kick($1)", opentera.DemoSiteAdminUUID)
	p.sees(".bar .state", "4000")
	p.click(".bar button", w.disconnect)
	p.until("document.querySelector('form input[name=name]')")
}

func (p *page) keys() {
	p.t.Helper()
	eval[chromedp.Void](p, "document.activeElement.blur()")
	p.do(chromedp.KeyEvent("3"))
	p.until("document.querySelector('main.log tr[tabindex]')")
	p.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown))
	p.until("document.activeElement === document.querySelectorAll('main tr[tabindex]')[1]")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.until("document.querySelector('dialog.side') && location.hash.startsWith('#log/')")
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until("!document.querySelector('dialog') && location.hash === '#log'")
	p.do(chromedp.KeyEvent("2"))
	p.until("document.querySelector('main.people')")
	p.do(chromedp.KeyEvent("/"))
	p.until("document.activeElement.type === 'search'")
	eval[chromedp.Void](p, "document.activeElement.blur()")
	theme, language := eval[string](p, "document.documentElement.dataset.theme"), eval[string](p, "document.documentElement.lang")
	p.do(chromedp.KeyEvent("d"), chromedp.KeyEvent("l"), chromedp.KeyEvent("?"))
	p.until("document.querySelector('dialog kbd')")
	p.until(fmt.Sprintf("document.documentElement.dataset.theme !== %q && document.documentElement.lang !== %q", theme, language))
	p.do(chromedp.KeyEvent(kb.Escape))
}

// Where the address is reachable by others, the password is asked for; not again after a reload, but after leaving.
func TestThePassword(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/password"
	if err := os.WriteFile(file, []byte("twelve and more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	gateway, _ := serve(t, "--admin-listen", "0.0.0.0:0", "--console-password-file", file)
	_, port, _ := strings.Cut(strings.TrimPrefix(gateway.Admin, "http://"), "]:")
	p := browse(t, "http://127.0.0.1:"+port+"/console/", 1024, 700, "en")
	p.expect("401")
	p.fill("dialog input[name=password]", "wrong password")
	p.click("dialog button.main", "Enter")
	p.sees("dialog .wrong", "Wrong password.")
	p.fill("dialog input[name=password]", "twelve and more")
	p.click("dialog button.main", "Enter")
	p.sees(".tiles", "Sockets")
	eval[chromedp.Void](p, "location.reload()")
	p.sees(".tiles", "Sockets")
	p.open("client")
	p.signInAsClient(opentera.DemoProjectAdmin, false)
	p.click("header button", "Leave")
	p.until("document.querySelector('dialog input[name=password]')")
	if gateway.Log.Count(`op="console sign in"`) != 2 {
		t.Errorf("not a line of the log for each attempt")
	}
}

// The page says when the gateway is gone, and when it is back.
func TestTheGatewayGoes(t *testing.T) {
	t.Parallel()
	gateway, _ := serve(t)
	p := browse(t, gateway.Admin+"/console/", 1024, 700, "en")
	p.sees(".tiles", "Sockets")
	p.expect("ERR_")
	gateway.Kill()
	p.sees(".trouble", "does not answer")
}
