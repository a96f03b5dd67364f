//go:build clib

#include <stdint.h>

#include "_cgo_export.h"

#define KEPT __attribute__((noinline, noclone))

KEPT uint64_t burn_inner(uint64_t rounds) {
    uint64_t sum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        sum = (sum * 31 + round) % 1000003;
    }
    return sum;
}

KEPT uint64_t burn_outer(uint64_t rounds) {
    return burn_inner(rounds) + 1;
}

/* Burns, then calls back with one less to go, then burns again. */
KEPT uint64_t call_back(uint64_t rounds, int depth) {
    uint64_t sum = burn_outer(rounds);
    sum += calledBack(rounds, depth > 0 ? depth - 1 : depth < 0 ? -1 : 0);
    return sum + burn_outer(rounds) + 1;
}
