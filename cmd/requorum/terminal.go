package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/fatih/color"
	"golang.org/x/term"

	"github.com/requorum/requorum/executor"
	"github.com/requorum/requorum/planner"
	"github.com/requorum/requorum/planner/render"
)

// style fits stdout: its width, and colours unless they are off.
func style() render.Style {
	paint := func(a ...color.Attribute) func(string) string {
		c := color.New(a...)
		return func(s string) string { return c.Sprint(s) }
	}
	// Without a working directory paths are shown whole.
	dir, _ := os.Getwd()
	return render.Style{
		Width: widthOf(os.Stdout), Dir: dir,
		Good: paint(color.FgGreen), Bad: paint(color.FgRed, color.Bold),
		Warn: paint(color.FgYellow), Bold: paint(color.Bold), Dim: paint(color.Faint),
	}
}

// widthOf is the terminal's width, at most 120 for the eye's sake; 80 where
// there is no terminal.
func widthOf(f *os.File) int {
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil || w < 40 {
		return 80
	}
	return min(w, 120)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// answer is what came of a question.
type answer int

const (
	answerNo answer = iota
	answerYes
	answerNone // the input ended
)

// confirm asks on stderr and reads one line from in. Only "yes" is a yes; an
// interrupt is a no.
func confirm(ctx context.Context, in io.Reader, question string) answer {
	fmt.Fprintf(os.Stderr, "\n%s\n  Only 'yes' will be accepted: ", question)
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(in).ReadString('\n')
		line <- s
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr)
		return answerNo
	case s := <-line:
		if !strings.HasSuffix(s, "\n") {
			fmt.Fprintln(os.Stderr)
			return answerNone
		}
		if strings.TrimRight(s, "\r\n") == "yes" {
			return answerYes
		}
		return answerNo
	}
}

// progress shows a plan's steps on stderr as they happen: on a terminal in
// place, elsewhere as a line when each has ended.
type progress struct {
	mu      sync.Mutex
	live    bool
	width   int
	ids     int // columns of the longest number,
	titles  int // title
	targets int // and list of members
	began   time.Time
	shown   time.Time
	said    []string // of the step at work
}

func newProgress(steps []planner.Step) *progress {
	p := &progress{live: isTerminal(os.Stderr), width: widthOf(os.Stderr)}
	for _, s := range steps {
		p.ids, p.titles = max(p.ids, len(fmt.Sprint(s.ID))), max(p.titles, len(s.Title))
		p.targets = max(p.targets, len([]rune(render.On(s))))
	}
	return p
}

func (p *progress) event(e executor.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := e.(type) {
	case executor.StepBegan:
		p.began = time.Now()
		p.line(p.step(e.Step)+"…", false)
	case executor.StepProgress:
		if p.live && time.Since(p.shown) > 100*time.Millisecond {
			p.shown = time.Now()
			p.line(fmt.Sprintf("%s… %s  %s", p.step(e.Step), portion(e), time.Since(p.began).Round(time.Second)), false)
		}
	case executor.StepSaid:
		p.said = append(p.said, e.Text)
	case executor.StepDone:
		p.line(fmt.Sprintf("%s%s  %s", p.step(e.Step), color.GreenString("done"), took(e.Took)), true)
		p.tell()
	case executor.StepFailed:
		word := color.RedString("failed")
		if errors.Is(e.Err, context.Canceled) {
			word = color.YellowString("interrupted")
		}
		p.line(fmt.Sprintf("%s%s  %s", p.step(e.Step), word, took(e.Took)), true)
		p.tell()
	}
}

// tell prints what was said of the step that has ended.
func (p *progress) tell() {
	for _, text := range p.said {
		p.line(strings.Repeat(" ", p.ids+4)+text, true)
	}
	p.said = nil
}

func (p *progress) step(s planner.Step) string {
	return fmt.Sprintf("  %-*d  %-*s  %-*s  ", p.ids, s.ID, p.titles, s.Title, p.targets, render.On(s))
}

func portion(e executor.StepProgress) string {
	switch {
	case e.Total <= 0:
		return e.What
	case e.Total > 10_000:
		return fmt.Sprintf("%s %d%% of %s", e.What, 100*e.Done/e.Total, render.Bytes(e.Total))
	}
	return fmt.Sprintf("%s %d of %d", e.What, e.Done, e.Total)
}

func took(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// line writes s over the line before it where the terminal allows that.
func (p *progress) line(s string, end bool) {
	if !p.live {
		if end {
			fmt.Fprintln(os.Stderr, s)
		}
		return
	}
	if r := []rune(s); !end && len(r) > p.width {
		s = string(r[:p.width])
	}
	fmt.Fprint(os.Stderr, "\r\x1b[K"+s)
	if end {
		fmt.Fprintln(os.Stderr)
	}
}
