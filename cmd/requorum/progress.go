package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fatih/color"

	"github.com/requorum/requorum/executor"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

const (
	redraw    = 150 * time.Millisecond // on a terminal
	heartbeat = 30 * time.Second       // elsewhere, for who reads a log
)

// progress shows a plan's steps on stderr as they happen: on a terminal in one line
// that is drawn anew, elsewhere as a line when each has ended. What is left at the
// end is each step's result.
type progress struct {
	mu      sync.Mutex
	out     *os.File
	live    bool
	ids     int // columns of the longest number,
	titles  int // title
	targets int // and list of members

	at    *planner.Step // at work; nil for none
	began time.Time
	last  executor.StepProgress
	since time.Time // when last.What began,
	from  int64     // and how far it was then
	waits string
	shown time.Time // when a line was last written
	drawn bool      // an unfinished line is on the terminal
	stop  chan struct{}
}

// maxTargets is how wide the list of members gets at most.
const maxTargets = 20

func newProgress(steps []planner.Step) *progress {
	p := &progress{out: os.Stderr, live: isTerminal(os.Stderr), stop: make(chan struct{})}
	for _, s := range steps {
		p.ids, p.titles = max(p.ids, len(fmt.Sprint(s.ID))), max(p.titles, len(s.Title))
		p.targets = max(p.targets, min(maxTargets, utf8.RuneCountInString(render.On(s))))
	}
	go p.keep()
	return p
}

// keep draws the line anew while nothing else does, for the time that passes.
func (p *progress) keep() {
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

// end leaves the terminal with a whole line.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
	}
	p.clear()
}

func (p *progress) event(e executor.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := e.(type) {
	case executor.StepBegan:
		p.at, p.began, p.shown = &e.Step, time.Now(), time.Now()
		p.last, p.waits = executor.StepProgress{}, ""
	case executor.StepProgress:
		if e.What != p.last.What || e.Done < p.from {
			p.since, p.from = time.Now(), e.Done
		}
		p.last = e
	case executor.StepWaits:
		if p.at == nil { // before it begins
			p.at, p.began, p.shown = &e.Step, time.Now(), time.Now()
			p.last = executor.StepProgress{}
		}
		p.waits = e.For
	case executor.StepEnded:
		p.at = nil
		p.line(p.step(e.Step) + p.result(e))
	}
}

// step is how a step's line begins.
func (p *progress) step(s planner.Step) string {
	return fmt.Sprintf("  %*d  %-*s  %-*s  ", p.ids, s.ID, p.titles, s.Title, p.targets, cut(render.On(s), p.targets))
}

// result is how it ends.
func (p *progress) result(e executor.StepEnded) string {
	word, paint := string(e.Outcome), color.New(color.Faint).Sprint
	switch {
	case e.Outcome == executor.Done:
		paint = color.New(color.FgGreen).Sprint
	case e.Interrupted:
		word, paint = "interrupted", color.New(color.FgYellow).Sprint
	case e.Outcome == executor.Failed:
		paint = color.New(color.FgRed, color.Bold).Sprint
	case e.Outcome == executor.NotStarted && e.Err != nil:
		paint = color.New(color.FgRed).Sprint
	}
	text := paint(fmt.Sprintf("%-11s", word))
	if e.Outcome == executor.NotStarted {
		return strings.TrimRight(text, " ")
	}
	text += fmt.Sprintf("  %8s", took(e.Took))
	if e.Note != "" {
		text += "  " + color.New(color.Faint).Sprint(e.Note)
	}
	return text
}

// draw shows the step at work.
func (p *progress) draw() {
	if p.at == nil || p.stop == nil {
		return
	}
	elapsed := time.Since(p.began)
	if !p.live {
		if time.Since(p.shown) >= heartbeat {
			p.shown = time.Now()
			fmt.Fprintf(p.out, "%s%s  %s\n", p.step(*p.at), p.doing(200), took(elapsed))
		}
		return
	}
	begin, width := p.step(*p.at), widthOf(p.out)-1
	clock := fmt.Sprintf("  %s", elapsed.Round(time.Second))
	room := width - utf8.RuneCountInString(begin) - len(clock)
	text := begin + color.New(color.Faint).Sprint(cut(p.doing(room), room)) + clock
	if bar := p.bar(width - utf8.RuneCountInString(begin)); bar != "" {
		text = begin + bar
	}
	fmt.Fprint(p.out, "\r\x1b[K"+text)
	p.drawn = true
}

// doing says what the step is about: what it waits for, or which part of it is done.
func (p *progress) doing(int) string {
	switch {
	case p.waits != "":
		return "waits: " + p.waits
	case p.last.Total > 0 && !isBytes(p.last):
		return fmt.Sprintf("%s %d of %d", p.last.What, p.last.Done, p.last.Total)
	case p.last.Total > 0:
		return fmt.Sprintf("%s %d%% of %s", p.last.What, percent(p.last), render.Bytes(p.last.Total))
	case p.last.What != "":
		return p.last.What
	}
	return "…"
}

// isBytes is whether the total is one of bytes: a few are members or phases, and a
// log is counted in entries.
func isBytes(e executor.StepProgress) bool {
	return e.Total > 10_000 && !strings.Contains(e.What, "entries") && e.What != "applying the log"
}

func percent(e executor.StepProgress) int64 { return min(100, 100*max(0, e.Done)/max(1, e.Total)) }

const minBar, maxBar = 8, 30

// bar is a bar with how much, how fast and how long still, as far as there is room
// for it; "" where the end is not known or all is done.
func (p *progress) bar(room int) string {
	e := p.last
	if e.Total < 100 || e.Done >= e.Total {
		return ""
	}
	parts := []string{fmt.Sprintf(" %3d%%", percent(e))}
	if took := time.Since(p.since).Seconds(); took > 0.3 && e.Done > p.from {
		rate := float64(e.Done-p.from) / took
		left := time.Duration(float64(e.Total-e.Done) / rate * float64(time.Second))
		if left > time.Second {
			parts = append(parts, fmt.Sprintf("  %s left", left.Round(time.Second)))
		}
		if isBytes(e) {
			parts = append(parts, fmt.Sprintf("  %s/s", render.Bytes(int64(rate))))
		}
	}
	if isBytes(e) {
		parts = append(parts, "  of "+render.Bytes(e.Total))
	}
	tail := ""
	for _, part := range parts {
		if utf8.RuneCountInString(tail+part)+minBar <= room {
			tail += part
		}
	}
	wide := min(maxBar, room-utf8.RuneCountInString(tail))
	if wide < minBar {
		return ""
	}
	full := int(int64(wide) * percent(e) / 100)
	return color.New(color.FgGreen).Sprint(strings.Repeat("━", full)) + color.New(color.Faint).Sprint(strings.Repeat("━", wide-full)) + tail
}

// line writes a line that stays, in place of the one that is drawn.
func (p *progress) line(s string) {
	p.clear()
	fmt.Fprintln(p.out, s)
	p.shown = time.Now()
}

// say writes a line between the steps.
func (p *progress) say(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(s)
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

func took(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// cut shortens s to n columns.
func cut(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	if n < 2 {
		return ""
	}
	return string(r[:n-1]) + "…"
}
