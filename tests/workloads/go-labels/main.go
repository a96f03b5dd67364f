// A Go program whose goroutines label their work: each label has a function of its own that burns CPU under it
// alone, so that a stack says which labels its sample must have.
//
// It prints `ready`, works until SIGTERM, then prints `share FUNCTION FRACTION` of the CPU time that it
// counted.
package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const rounds = 200000

// spin is a loop that the compiler leaves alone; inlined, so that its time is its caller's own.
func spin(mean int) (sum int) {
	for round := mean/2 + rand.Intn(mean); round > 0; round-- {
		sum = (sum*31 + round) % 1000003
	}
	return sum
}

var sink int64

//go:noinline
func burnCart(mean int) int { return spin(mean) }

//go:noinline
func burnSearch(mean int) int { return spin(mean) }

//go:noinline
func burnPlain(mean int) int { return spin(mean) }

//go:noinline
func burnParse(mean int) int { return spin(mean) }

//go:noinline
func burnRender(mean int) int { return spin(mean) }

//go:noinline
func burnInner(mean int) int { return spin(mean) }

//go:noinline
func burnMany(mean int) int { return spin(mean) }

//go:noinline
func burnLong(mean int) int { return spin(mean) }

//go:noinline
func burnTraced(mean int) int { return spin(mean) }

//go:noinline
func burnOther(mean int) int { return spin(mean) }

// cpuTime is the CPU time of this thread in ns.
func cpuTime() int64 {
	var now syscall.Timespec
	const threadCPU = 3
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadCPU, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

// account is the CPU time of one function.
type account struct {
	name string
	time int64
}

// counted runs a burner and counts its CPU time. On another thread it would have another clock.
func (a *account) counted(burn func(int) int, mean int) {
	runtime.LockOSThread()
	start := cpuTime()
	atomic.AddInt64(&sink, int64(burn(mean)))
	atomic.AddInt64(&a.time, cpuTime()-start)
	runtime.UnlockOSThread()
}

var stopped int32
var accounts []*account
var goroutines sync.WaitGroup

// worker starts a goroutine that does the same again and again.
func worker(work func()) {
	goroutines.Add(1)
	go func() {
		defer goroutines.Done()
		for atomic.LoadInt32(&stopped) == 0 {
			work()
			runtime.Gosched()
		}
	}()
}

func newAccount(name string) *account {
	a := &account{name: "main." + name}
	accounts = append(accounts, a)
	return a
}

// awaitContinue waits for SIGCONT where START_ON asks for it: whoever profiles the program gets to know it first.
func awaitContinue() {
	if os.Getenv("START_ON") != "SIGCONT" {
		return
	}
	start := make(chan os.Signal, 1)
	signal.Notify(start, syscall.SIGCONT)
	fmt.Fprintln(os.Stderr, "waiting")
	<-start
}

func main() {
	awaitContinue()
	background := context.Background()

	// Each its own label, some longer than others.
	cart, search, plain := newAccount("burnCart"), newAccount("burnSearch"), newAccount("burnPlain")
	worker(func() {
		pprof.Do(background, pprof.Labels("endpoint", "/cart"), func(context.Context) {
			cart.counted(burnCart, 3*rounds)
		})
	})
	worker(func() {
		pprof.Do(background, pprof.Labels("endpoint", "/search"), func(context.Context) {
			search.counted(burnSearch, 2*rounds)
		})
	})
	worker(func() { plain.counted(burnPlain, rounds) })

	// A label that changes in the middle of a request, and labels within labels.
	parse, render, inner := newAccount("burnParse"), newAccount("burnRender"), newAccount("burnInner")
	worker(func() {
		parsing := pprof.WithLabels(background, pprof.Labels("phase", "parse", "request", "changing"))
		rendering := pprof.WithLabels(parsing, pprof.Labels("phase", "render"))
		pprof.SetGoroutineLabels(parsing)
		parse.counted(burnParse, rounds)
		pprof.SetGoroutineLabels(rendering)
		render.counted(burnRender, rounds)
		pprof.Do(rendering, pprof.Labels("depth", "inner"), func(context.Context) {
			inner.counted(burnInner, rounds)
		})
		pprof.SetGoroutineLabels(background)
	})

	// More labels than are read, and longer ones.
	var pairs []string
	for index := 0; index < 20; index++ {
		pairs = append(pairs, fmt.Sprintf("key%02d", index), fmt.Sprintf("value%02d", index))
	}
	many, long := newAccount("burnMany"), newAccount("burnLong")
	worker(func() {
		pprof.Do(background, pprof.Labels(pairs...), func(context.Context) {
			many.counted(burnMany, rounds)
		})
	})
	longLabels := pprof.Labels(strings.Repeat("k", 100), strings.Repeat("v", 400))
	worker(func() {
		pprof.Do(background, longLabels, func(context.Context) {
			long.counted(burnLong, rounds)
		})
	})

	// Two requests with a trace, which change often.
	traced, other := newAccount("burnTraced"), newAccount("burnOther")
	worker(func() {
		labels := pprof.Labels("trace_id", "0123456789abcdef0123456789abcdef", "span_id", "0011223344556677")
		pprof.Do(background, labels, func(context.Context) {
			traced.counted(burnTraced, rounds/10)
		})
		labels = pprof.Labels("trace_id", "fedcba9876543210fedcba9876543210", "span_id", "8899aabbccddeeff")
		pprof.Do(background, labels, func(context.Context) {
			other.counted(burnOther, rounds/10)
		})
	})

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println("ready")
	select {
	case <-stop:
	case <-time.After(2 * time.Minute):
	}
	atomic.StoreInt32(&stopped, 1)
	goroutines.Wait()
	var all int64
	for _, account := range accounts {
		all += account.time
	}
	for _, account := range accounts {
		fmt.Printf("share %s %.5f\n", account.name, float64(account.time)/float64(all))
	}
}
