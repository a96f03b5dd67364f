// What the C and C++ workloads share: functions that stay functions, jittered work, and the truth on exit.
//
// A workload prints `ready` when its steady state begins, works until SIGTERM, then prints lines
// `share NAME FRACTION` of its own CPU time and exits 0. It ends by itself after two minutes.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Not inlined, not cloned, not folded with an equal function.
#define KEEP __attribute__((noipa))
#define UNUSED __attribute__((unused))
// Behind a call: it is no tail call, the caller stays on the stack.
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")

static volatile sig_atomic_t stopped;
static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

UNUSED static void ready(void) {
    signal(SIGTERM, stop);
    alarm(120);
    puts("ready");
    fflush(stdout);
}

// A cycle of fixed length beats with the sampling clock.
static uint32_t jitter_state = 2463534242u;
UNUSED static uint32_t jittered(uint32_t mean) {
    jitter_state ^= jitter_state << 13;
    jitter_state ^= jitter_state >> 17;
    jitter_state ^= jitter_state << 5;
    return mean / 4 * 3 + jitter_state % (mean / 2);
}

// A loop of `rounds` that the compiler leaves alone; inlined, so that its time is its caller's own.
static inline __attribute__((always_inline)) void spin(uint32_t rounds) {
    for (uint32_t round = 0; round < rounds; round++)
        __asm__ volatile("" : : "r"(round) : "memory");
}

// CPU time of this thread in ns.
static inline uint64_t cpu_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
