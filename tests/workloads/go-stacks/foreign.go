//go:build clib

package main

// #include <stdint.h>
// uint64_t burn_outer(uint64_t rounds);
// uint64_t call_back(uint64_t rounds, int depth);
import "C"

import "stacks/leaf"

func init() {
	modes["foreign"] = func() { foreignA() }
	modes["callbacks"] = func() { callA(3) }
	modes["moving"] = func() { movingA() }
}

//go:noinline
func foreignA() { sink.Add(foreignB() + 1) }

//go:noinline
func foreignB() uint64 { return uint64(C.burn_outer(100_000)) }

//go:noinline
func callA(depth int) { sink.Add(callB(depth) + 1) }

//go:noinline
func callB(depth int) uint64 { return uint64(C.call_back(20_000, C.int(depth))) + 1 }

// calledBack is called from C, and calls C that calls it again.
//
//export calledBack
func calledBack(rounds C.uint64_t, depth C.int) C.uint64_t {
	if depth == 0 {
		return C.uint64_t(chainB(func() uint64 { return leaf.Spin(20_000) }))
	}
	if depth < 0 {
		// The goroutine's stack is moved while C waits for it.
		return C.uint64_t(deepen(100))
	}
	return C.uint64_t(callB(int(depth)))
}

// movingA is called back on a goroutine whose stack has to grow in the callback.
func movingA() {
	done := make(chan uint64)
	go func() { done <- uint64(C.call_back(10_000, 0)) + uint64(C.call_back(10_000, C.int(-1))) }()
	sink.Add(<-done)
}
