package main

import (
	"hash/maphash"

	"stacks/leaf"
)

//go:noinline
func chainA(last func() uint64) { sink.Add(chainB(last) + 1) }

//go:noinline
func chainB(last func() uint64) uint64 { return chainC(last) + 1 }

//go:noinline
func chainC(last func() uint64) uint64 { return last() + 1 }

//go:noinline
func leafSpin() uint64 { return leaf.Spin(200_000) + 1 }

var moved [2][1 << 16]byte

//go:noinline
func leafMove() uint64 {
	var to [1 << 12]byte
	for i := 0; i < 64; i++ {
		copy(to[:], moved[0][i<<4:])
	}
	return uint64(to[100]) + 1
}

// leafWrite writes where the race detector looks: at each element, and at all of them at once.
//
//go:noinline
func leafWrite() uint64 {
	var written [1 << 10]uint64
	for i := range written {
		written[i] += uint64(i)
	}
	copies := make([]uint64, len(written))
	copy(copies, written[:])
	return copies[100] + 1
}

var seed = maphash.MakeSeed()

//go:noinline
func leafHash() (sum uint64) {
	text := string(moved[1][:1<<10])
	for i := 0; i < 64; i++ {
		sum += maphash.String(seed, text[i:])
	}
	return sum
}
