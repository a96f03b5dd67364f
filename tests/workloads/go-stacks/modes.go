package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"stacks/leaf"
)

type tree struct{ left, right *tree }

//go:noinline
func plant(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{plant(depth - 1), plant(depth - 1)}
}

// garbage keeps the collector busy.
func garbage() {
	kept := make([]*tree, 4)
	for i := range kept {
		kept[i] = plant(12)
	}
	sink.Add(uint64(len(kept)))
}

//go:noinline
func deepen(depth int) (sum uint64) {
	var frame [64]uint64
	for i := range frame {
		frame[i] = uint64(depth + i)
	}
	if depth > 0 {
		sum = deepen(depth - 1)
	}
	return sum + frame[depth&63]
}

// grow needs ever more stack, on a new goroutine each time.
func grow() {
	done := make(chan uint64)
	go func() { done <- deepen(400) }()
	sink.Add(<-done)
}

//go:noinline
func pong(in, out, other chan uint64) {
	for {
		select {
		case value, open := <-in:
			if !open {
				close(out)
				return
			}
			out <- value + 1
		case <-other:
			return
		}
	}
}

func channels() {
	in, out, other := make(chan uint64), make(chan uint64), make(chan uint64)
	go pong(in, out, other)
	for i := 0; i < 10_000; i++ {
		in <- 1
		sink.Add(<-out)
	}
	close(in)
	<-out
}

//go:noinline
func clock() {
	start := time.Now()
	for i := 0; i < 1000; i++ {
		sink.Add(uint64(time.Since(start)))
	}
}

func maps() {
	counts := map[uint64]uint64{}
	names := map[string]uint64{}
	for i := uint64(0); i < 20_000; i++ {
		counts[i*2654435761] += i
		names[string(moved[0][:i%64])] += i
	}
	sink.Add(uint64(len(counts) + len(names)))
}

// many wakes 5,000 goroutines in turn.
func many() {
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := 0; i < 5000; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			<-start
			sink.Add(chainB(func() uint64 { return leaf.Spin(500) }))
		}()
	}
	close(start)
	group.Wait()
}

var kept [8][]byte

// allocate asks the runtime for memory in sizes of its own stack's business.
//
//go:noinline
func allocate() {
	for i := 0; i < 64; i++ {
		kept[i&7] = make([]byte, 33<<10+i<<8)
	}
}

// signals is interrupted all the time.
func signals() {
	received := make(chan os.Signal, 16)
	signal.Notify(received, syscall.SIGUSR1)
	for i := 0; i < 1000; i++ {
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
		chainA(func() uint64 { return leaf.Spin(2000) })
		select {
		case <-received:
		default:
		}
	}
	signal.Stop(received)
}

// mixed is a little of most.
func mixed() {
	for i := 0; i < 200; i++ {
		chainA(leafSpin)
	}
	for i := 0; i < 400; i++ {
		chainA(leafMove)
		chainA(leafHash)
	}
	for i := 0; i < 200; i++ {
		clock()
	}
	maps()
	garbage()
	grow()
	allocate()
}

// brief is a life of some ten milliseconds, most of it on the scheduler's stack.
func brief() {
	for i := 0; i < 30; i++ {
		grow()
		garbage()
	}
	os.Exit(0)
}
