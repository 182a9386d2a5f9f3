// Command fetch gets ready the programs that tests/review has read for reviewers, where
// they are not there yet, and says how long that took: a stage of its own before the
// tests, for on a busy machine it takes longer than they do.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/requorum/requorum/tests/review"
)

func main() {
	for _, reader := range []struct {
		name string
		find func(context.Context) (string, error)
	}{{"conftest", review.Conftest}, {"Mermaid", review.Mermaid}, {"Chromium", review.Chromium}} {
		began := time.Now()
		if _, err := reader.find(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("%-9s %6.1f s\n", reader.name, time.Since(began).Seconds())
	}
}
