package console_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"terasocket/cmd/terasocket/gatewaytest"
)

// page is a tab of a real Chromium. It records errors, violations of the page's policy, and requests to other hosts.
type page struct {
	t    *testing.T
	ctx  context.Context
	base string // http://127.0.0.1:port/console/

	mu       sync.Mutex
	problems []string
	expected []string // parts of expected problems
}

// chromium returns the path of Chromium, "" if there is none.
func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// browsers limits how many run at once.
var browsers = make(chan struct{}, 2)

// mayBrowse waits for a turn until the end of the test; without Chromium it skips the test, except in CI.
func mayBrowse(t *testing.T) {
	t.Helper()
	switch {
	case chromium() != "":
	case os.Getenv("CI") != "":
		t.Fatal("no Chromium to test the console with: make chromium")
	default:
		t.Skip("no Chromium: the console's page is NOT tested here (make chromium installs it)")
	}
	browsers <- struct{}{}
	t.Cleanup(func() { <-browsers })
}

// browse opens a browser of this size and language at base.
func browse(t *testing.T, base string, width, height int64, language string) *page {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(chromium()), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(int(width), int(height)), chromedp.Flag("lang", language), chromedp.Flag("accept-lang", language), chromedp.Env("LANG="+language, "LANGUAGE="+language), chromedp.WSURLReadTimeout(gatewaytest.Limit))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	p := &page{t: t, ctx: ctx, base: base}
	origin := strings.TrimSuffix(base, "/console/")
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			p.note("exception: %+v", e.ExceptionDetails)
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
				p.note("console: %s", e.Args[0].Value)
			}
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				p.note("log: %s %s", e.Entry.Text, e.Entry.URL)
			}
		case *audits.EventIssueAdded:
			if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
				p.note("policy: %+v", e.Issue.Details.ContentSecurityPolicyIssueDetails)
			}
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, origin+"/console") {
				p.note("request elsewhere: %s", e.Request.URL)
			}
		case *network.EventWebSocketCreated:
			if !strings.HasPrefix(e.URL, strings.Replace(origin, "http", "ws", 1)+"/console/client/wss/") {
				p.note("socket elsewhere: %s", e.URL)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			if !slices.ContainsFunc(p.expected, func(part string) bool { return strings.Contains(problem, part) }) {
				t.Errorf("the page: %s", problem)
			}
		}
	})
	_, err := chromedp.Call(ctx, audits.Enable, cdp.Empty{})
	if err == nil {
		_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	}
	if err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.EmulateViewport(width, height), chromedp.Navigate(base))
	return p
}

func (p *page) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// expect allows a problem; to the browser any answer other than 2xx is one.
func (p *page) expect(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, part)
}

func (p *page) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, gatewaytest.Limit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%v; the page says: %.2000s", err, p.text("body"))
	}
}

// eval evaluates an expression.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, gatewaytest.Limit)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// is reports whether an expression is true; it is not while the page is being loaded.
func (p *page) is(expression string) bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, gatewaytest.Limit)
	defer cancel()
	yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
	if err != nil && !strings.Contains(err.Error(), "(-32000)") { // the page that was asked is gone
		p.t.Fatalf("%s: %v", expression, err)
	}
	return yes
}

// text returns that of the first element of a selector, "" if there is none.
func (p *page) text(selector string) string {
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector)))
	return text
}

// until waits until an expression is true. The page may be loaded again meanwhile.
func (p *page) until(expression string) {
	p.t.Helper()
	for end := time.Now().Add(gatewaytest.Limit); !p.is(expression); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%s does not come true; the page says: %.2000s", expression, p.text("body"))
		}
	}
}

// sees waits until the text of a selector contains all of these.
func (p *page) sees(selector string, parts ...string) {
	p.t.Helper()
	for _, part := range parts {
		p.until(fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", selector, part))
	}
}

// click clicks the first element of a selector whose text contains this.
func (p *page) click(selector, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`(() => { const e = [...document.querySelectorAll(%q)].find((e) => e.innerText.includes(%q) && !e.disabled); e?.click(); return e; })()`, selector, text))
}

// fill types into the field of this name or selector.
func (p *page) fill(selector, value string) {
	p.t.Helper()
	p.until(fmt.Sprintf("(() => { const e = document.querySelector(%q); if (e) { e.value = ''; e.focus(); } return e; })()", selector))
	p.do(chromedp.SendKeys(chromedp.CSS(selector), value))
}
