package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/fatih/color"
	"golang.org/x/term"

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
