// Code that a program loads when it runs, with labels of its own.
package main

import (
	"context"
	"runtime/pprof"
	"sync/atomic"
)

var sink int

//go:noinline
func burnInPlugin(stopped *int32) {
	for atomic.LoadInt32(stopped) == 0 {
		for i := 0; i < 1000000; i++ {
			sink += i
		}
	}
}

// Work burns CPU under a label until it is told to stop.
func Work(stopped *int32) {
	labels := pprof.Labels("part", "of-a-plugin")
	pprof.Do(context.Background(), labels, func(context.Context) { burnInPlugin(stopped) })
}

func main() {}
