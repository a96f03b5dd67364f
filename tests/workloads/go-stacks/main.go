// A Go program that works in the way that its first argument names, with known chains of calls, until SIGTERM. A
// second argument is a file for its runtime's own CPU profile of the time between two signals.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
)

// Samples a second of the runtime's own profile.
const rate = 500

var stopped atomic.Bool

// What modes compute goes here, so that it is computed.
var sink atomic.Uint64

var modes = map[string]func(){
	"leaf":     func() { chainA(leafSpin) },
	"moves":    func() { chainA(leafMove) },
	"hash":     func() { chainA(leafHash) },
	"writes":   func() { chainA(leafWrite) },
	"garbage":  garbage,
	"grow":     grow,
	"channels": channels,
	"clock":    clock,
	"maps":     maps,
	"many":     many,
	"allocate": allocate,
	"signals":  signals,
	"mixed":    mixed,
	"brief":    brief,
}

// everyThread works on as many goroutines as there are processors.
func everyThread(work func()) {
	var group sync.WaitGroup
	for i := 0; i < runtime.GOMAXPROCS(0); i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for !stopped.Load() {
				work()
			}
		}()
	}
	group.Wait()
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

// profileBetweenSignals writes the runtime's own CPU profile of the time between the first SIGUSR2 and the second.
func profileBetweenSignals(path string) {
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	go func() {
		<-asked
		// The second call is told that the rate is set already, and keeps it.
		runtime.SetCPUProfileRate(rate)
		if err := pprof.StartCPUProfile(file); err != nil {
			panic(err)
		}
		fmt.Println("profiling")
		<-asked
		pprof.StopCPUProfile()
		if err := file.Close(); err != nil {
			panic(err)
		}
		fmt.Println("profiled")
	}()
}

func main() {
	work := modes[os.Args[1]]
	if work == nil {
		fmt.Fprintln(os.Stderr, "no such mode")
		os.Exit(2)
	}
	awaitContinue()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		stopped.Store(true)
	}()
	if len(os.Args) > 2 {
		profileBetweenSignals(os.Args[2])
	}
	fmt.Println("ready")
	everyThread(work)
}
