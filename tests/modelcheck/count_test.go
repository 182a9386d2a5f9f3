package main

import "testing"

func TestCount(t *testing.T) {
	for n, b := range bounds {
		c := map[int]int{}
		b.each(0, 1, func(ks []kind, _ *circumstance) { c[len(ks)]++ })
		t.Log(n, c)
	}
	t.Log(len(kinds()), len(circumstances()))
}
