// Requests that publish their trace and span and change ten thousand times a second; each of four spans burns CPU in
// a function of its own, so that a stack says which span its sample must have. Two threads.
//
// `thread_context [LIBRARY]`: the variable is in the program, in a library that it is linked with
// (`-DLINKED`), or in a library that it loads (`-DLOADED`).
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

#include "thread_context.h"
#include "workload.h"

#define ROUNDS 100000u

#if !defined(LINKED) && !defined(LOADED)
__thread struct thread_context *otel_thread_ctx_v1;
KEEP void attach_context(struct thread_context *record) { otel_thread_ctx_v1 = record; }
#endif

static void (*attach)(struct thread_context *);
static atomic_ullong changes, time_spent;
static __thread struct thread_context record;

KEEP static void burn_1(uint32_t rounds) { spin(rounds); }
KEEP static void burn_2(uint32_t rounds) { spin(rounds); }
KEEP static void burn_3(uint32_t rounds) { spin(rounds); }
KEEP static void burn_4(uint32_t rounds) { spin(rounds); }
KEEP static void burn_outside(uint32_t rounds) { spin(rounds); }

#define BARRIER() atomic_signal_fence(memory_order_seq_cst)

// Span K of trace K: every byte of both is K.
KEEP static void begin_span(uint8_t number) {
    record.valid = 0;
    BARRIER();
    memset(record.trace_id, number, sizeof record.trace_id);
    memset(record.span_id, number, sizeof record.span_id);
    BARRIER();
    record.valid = 1;
    BARRIER();
}

KEEP static void end_span(void) {
    record.valid = 0;
    BARRIER();
}

KEEP static void work(void) {
    uint64_t start = cpu_time();
    unsigned long long number = 0;
    attach(&record);
    for (; !stopped; number += 5) {
        begin_span(1);
        burn_1(jittered(ROUNDS));
        begin_span(2);
        burn_2(jittered(ROUNDS));
        begin_span(3);
        burn_3(jittered(ROUNDS));
        begin_span(4);
        burn_4(jittered(ROUNDS));
        end_span();
        burn_outside(jittered(ROUNDS));
    }
    attach(NULL);
    atomic_fetch_add(&changes, number);
    atomic_fetch_add(&time_spent, cpu_time() - start);
}

static void *thread_main(void *unused) {
    work();
    NO_TAIL_CALL();
    return unused;
}

int main(int count, char **arguments) {
    (void)count;
    (void)arguments;
#ifdef LOADED
    void *library = dlopen(arguments[1], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&attach = dlsym(library, "attach_context");
#else
    attach = attach_context;
#endif
    ready();
    pthread_t thread;
    if (!attach || pthread_create(&thread, NULL, thread_main, NULL))
        return 1;
    work();
    pthread_join(thread, NULL);
    printf("changes_a_second %.0f\n", (double)changes / ((double)time_spent / 1e9));
    return 0;
}
