package main

import (
	"fmt"
	"os"
	"time"
)

func (s *search) progress() {
	if os.Getenv("MC_DEBUG") == "" {
		return
	}
	go func() {
		for {
			time.Sleep(5 * time.Second)
			n := 0
			for i := range s.shards {
				s.shards[i].Lock()
				n += len(s.shards[i].states)
				s.shards[i].Unlock()
			}
			fmt.Fprintln(os.Stderr, n, "seeds", s.seeds.Load())
		}
	}()
}
