package review

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is the one that all tests share.
var browser struct {
	sync.Once
	ctx context.Context
	end []context.CancelFunc
	err error
}

// endBrowser ends it, and waits until it is gone.
func endBrowser() {
	if browser.ctx != nil {
		_ = chromedp.Cancel(browser.ctx)
	}
	for _, end := range browser.end {
		end()
	}
}

func startBrowser() {
	path, err := Chromium(context.Background())
	if err != nil {
		browser.err = err
		return
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(60*time.Second),
		// Whatever it is told to fetch fails, and is seen.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"))
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, end := chromedp.NewContext(alloc)
	browser.ctx, browser.end = ctx, []context.CancelFunc{end, endAlloc}
	browser.err = chromedp.Run(ctx)
}

// tab is a page of the browser, and what it did beside showing itself.
type tab struct {
	ctx  context.Context
	mu   sync.Mutex
	said []string // to the console, errors among it
	sent []string // requests, by their URLs
}

// open opens a tab; the test fails where there is no browser.
func open(t *testing.T) *tab {
	t.Helper()
	browser.Do(startBrowser)
	if browser.err != nil {
		t.Fatal(browser.err)
	}
	ctx, end := chromedp.NewContext(browser.ctx)
	t.Cleanup(end)
	ctx, endTime := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(endTime)
	x := &tab{ctx: ctx}
	chromedp.ListenTarget(ctx, func(ev any) {
		x.mu.Lock()
		defer x.mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			x.said = append(x.said, fmt.Sprint(ev.Type))
		case *runtime.EventExceptionThrown:
			x.said = append(x.said, ev.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			x.said = append(x.said, ev.Entry.Text)
		case *network.EventRequestWillBeSent:
			x.sent = append(x.sent, ev.Request.URL)
		}
	})
	x.run(t, network.Enable(), log.Enable())
	return x
}

func (x *tab) run(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(x.ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// quiet fails the test where the page said something, or asked for anything but itself.
func (x *tab) quiet(t *testing.T, itself string) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.said {
		t.Errorf("%s: the console says %s", itself, s)
	}
	for _, url := range x.sent {
		if url != itself {
			t.Errorf("%s asks for %s", itself, url)
		}
	}
	if len(x.sent) == 0 {
		t.Errorf("%s was not seen to be loaded", itself)
	}
	x.said, x.sent = nil, nil
}
