// A Go program with known shares: main.main -> main.cycle -> main.burnMost (3/4) and main.burnRest (1/4).
package main

import (
	"fmt"
	"math/rand"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

//go:noinline
func burnMost(rounds int) (sum int) {
	for round := 0; round < rounds; round++ {
		sum = (sum*31 + round) % 1000003
	}
	return sum
}

//go:noinline
func burnRest(rounds int) (sum int) {
	for round := 0; round < rounds; round++ {
		sum = (sum*33 + round) % 1000003
	}
	return sum
}

//go:noinline
func cycle() int {
	return burnMost(75000+rand.Intn(150000)) + burnRest(25000+rand.Intn(50000))
}

func main() {
	var stopped atomic.Bool
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		stopped.Store(true)
	}()
	fmt.Println("ready")
	deadline := time.Now().Add(2 * time.Minute)
	sum := 0
	for !stopped.Load() && time.Now().Before(deadline) {
		sum += cycle()
	}
	os.Exit(sum & 0)
}
