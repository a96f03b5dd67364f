// A Go program that keeps every processor busy in one function, with four labels (argument `labels`) or
// without any: what reading labels costs is the difference.
//
// It prints `ready` and works until SIGTERM.
package main

import (
	"context"
	"math/rand"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
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

func work() {
	for {
		atomic.AddInt64(&sink, int64(burn(100000+rand.Intn(100000))))
	}
}

// As deep as pprof.Do: both kinds of sample have the same stack but for this function's name.
//
//go:noinline
func without(ctx context.Context, _ pprof.LabelSet, f func(context.Context)) {
	f(ctx)
}

func main() {
	labels := pprof.Labels("endpoint", "/api/v1/cart/items", "customer", "a-middling-name",
		"trace_id", "0af7651916cd43dd8448eb211c80319c", "span_id", "b7ad6b7169203331")
	for i := 0; i < runtime.NumCPU(); i++ {
		go func() {
			do := without
			if len(os.Args) > 1 && os.Args[1] == "labels" {
				do = pprof.Do
			}
			do(context.Background(), labels, func(context.Context) { work() })
		}()
	}
	os.Stdout.WriteString("ready\n")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
}
