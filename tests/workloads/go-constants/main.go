// A Go program that labels its work with constants that it never reads itself.
//
// Without an argument the label's value lies in the middle of 4 MiB of constants of which nothing else is used: its page is
// not in memory. With one, that is a plugin, whose code labels its work with constants of the plugin.
//
// It prints `ready` and works until SIGTERM.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"plugin"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
)

// A name of 16 bytes, 2^18 times in a row.
const (
	one      = "/route/number-1/"
	sixteen  = one + one + one + one + one + one + one + one + one + one + one + one + one + one + one + one
	hundreds = sixteen + sixteen + sixteen + sixteen + sixteen + sixteen + sixteen + sixteen + sixteen + sixteen + sixteen +
		sixteen + sixteen + sixteen + sixteen + sixteen
	thousands = hundreds + hundreds + hundreds + hundreds + hundreds + hundreds + hundreds + hundreds + hundreds + hundreds +
		hundreds + hundreds + hundreds + hundreds + hundreds + hundreds
	names = thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands +
		thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands +
		thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands +
		thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands +
		thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands +
		thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands +
		thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands + thousands +
		thousands
)

// table is a variable, so that its parts are found when the program runs.
var table = names

var stopped int32
var sink int

//go:noinline
func burnLabelled() {
	for atomic.LoadInt32(&stopped) == 0 {
		for i := 0; i < 1000000; i++ {
			sink += i
		}
	}
}

func work() func(*int32) {
	if len(os.Args) < 2 {
		middle := len(table) / 2
		labels := pprof.Labels("route", table[middle:middle+len(one)])
		return func(*int32) {
			pprof.Do(context.Background(), labels, func(context.Context) { burnLabelled() })
		}
	}
	opened, err := plugin.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	found, err := opened.Lookup("Work")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return found.(func(*int32))
}

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	work := work()
	fmt.Println("ready")
	go func() {
		<-stop
		atomic.StoreInt32(&stopped, 1)
	}()
	work(&stopped)
}
