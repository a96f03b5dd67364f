// A Go program that keeps every processor busy in one function, with four labels after SIGUSR1 and without
// any after SIGUSR2 and at its start: what reading labels costs is the difference.
//
// It prints `ready`, then `labelled` or `plain` once every goroutine has switched, and works until SIGTERM.
package main

import (
	"context"
	"math/rand"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

var sink int64

//go:noinline
func burn(rounds int) (sum int) {
	for ; rounds > 0; rounds-- {
		sum = (sum*31 + rounds) % 1000003
	}
	return sum
}

// A time of work with labels or without: it ends when the next one is due.
type turn struct {
	labelled bool
	over     atomic.Bool
	began    sync.WaitGroup
}

func (turn *turn) work(context.Context) {
	turn.began.Done()
	for !turn.over.Load() {
		atomic.AddInt64(&sink, int64(burn(100000+rand.Intn(100000))))
	}
}

// As deep as pprof.Do: both kinds of sample have the same stack but for this function's name.
//
//go:noinline
func without(ctx context.Context, _ pprof.LabelSet, f func(context.Context)) {
	f(ctx)
}

// Keys are constants of the program, values come from a request: from the heap.
func labels() pprof.LabelSet {
	return pprof.Labels("endpoint", strings.Clone("/api/v1/cart/items"),
		"customer", strings.Clone("a-middling-name"),
		"trace_id", strings.Clone("0af7651916cd43dd8448eb211c80319c"),
		"span_id", strings.Clone("b7ad6b7169203331"))
}

func main() {
	switches := make(chan os.Signal, 1)
	signal.Notify(switches, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM)
	workers := runtime.NumCPU()
	turns := make([]chan *turn, workers)
	for worker := range turns {
		turns[worker] = make(chan *turn, 1)
		go func(turns <-chan *turn) {
			for turn := range turns {
				do := without
				if turn.labelled {
					do = pprof.Do
				}
				do(context.Background(), labels(), turn.work)
			}
		}(turns[worker])
	}
	begin := func(labelled bool) *turn {
		begun := &turn{labelled: labelled}
		begun.began.Add(workers)
		for _, turns := range turns {
			turns <- begun
		}
		begun.began.Wait()
		return begun
	}
	current := begin(false)
	os.Stdout.WriteString("ready\n")
	for asked := range switches {
		if asked == syscall.SIGTERM {
			return
		}
		current.over.Store(true)
		current = begin(asked == syscall.SIGUSR1)
		if current.labelled {
			os.Stdout.WriteString("labelled\n")
		} else {
			os.Stdout.WriteString("plain\n")
		}
	}
}
