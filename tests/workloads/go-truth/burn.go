package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

type number interface{ ~int | ~int64 }

// fold is generic: its name has type arguments.
//
//go:noinline
func fold[T, A any](items []T, start A, with func(A, T) A) A {
	for _, item := range items {
		start = with(start, item)
	}
	return start
}

type pair[K comparable, V number] struct {
	key   K
	value V
}

// weight is inlined into its callers.
func (p pair[K, V]) weight() V { return square(p.value) + p.value }

// square is inlined into weight.
func square[V number](v V) V { return v * v % 1000003 }

// Shapes are called through an interface, by pointer: the compiler makes wrappers of value methods.
type shape interface{ area(rounds int) int }

type rectangle struct{ width, height int }

//go:noinline
func (r rectangle) area(rounds int) (sum int) {
	for round := 0; round < rounds; round++ {
		sum = mix(sum, r.width*round+r.height)
	}
	return sum
}

// mix is inlined into area, and rotate into mix.
func mix(sum, value int) int { return rotate(sum^value) % 1000003 }

func rotate(value int) int { return value<<3 | value>>61&7 }

//go:noinline
func drawn(shapes []shape) (sum int) {
	for _, each := range shapes {
		sum += each.area(50_000)
	}
	return sum
}

func burn() {
	var stopped atomic.Bool
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		stopped.Store(true)
	}()
	fmt.Println("ready")
	deadline := time.Now().Add(2 * time.Minute)
	shapes := []shape{&rectangle{3, 5}, &rectangle{7, 11}}
	sum := 0
	for !stopped.Load() && time.Now().Before(deadline) {
		sum += drawn(shapes)
	}
	os.Exit(sum & 0)
}

// large uses packages with much code, of which much is inlined, so that there is much to say.
func large(input string) (string, error) {
	pairs := []pair[string, int]{{input, len(input)}, {"b", 2}}
	sort.Slice(pairs, func(i, j int) bool { return pairs[i].weight() < pairs[j].weight() })
	total := fold(pairs, 0.5, func(sum float64, p pair[string, int]) float64 { return sum + float64(p.weight()) })
	parsed, err := regexp.Compile(input)
	if err != nil {
		return "", errors.Join(err, errors.New(input))
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%v %v", parsed, total)
	return text.String(), nil
}

func init() {
	if len(os.Args) > 7 {
		fmt.Println(large(os.Args[7]))
	}
}
