package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

func (s *search) progress() {
	if os.Getenv("MC_DEBUG") == "" {
		return
	}
	if n, err := strconv.Atoi(os.Getenv("MC_LIMIT")); err == nil {
		time.AfterFunc(time.Duration(n)*time.Second, func() { s.stop.Store(true) })
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
