// Threads that wait, each in one way and in a function of its own, and know how long: prints `off NAME LEAST MOST`, in ns. At
// least it is the time between two readings of the clock less the thread's CPU time between them: the kernel begins to count
// that when it wakes a thread (`rq_clock_skip_update` of kernel/sched/core.c), some microseconds before the thread runs. At
// most it is all of that time.
//
// `waits MODE`: long, short, locks, disk, swarm, killed, pinned, request.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "thread_context.h"
#include "workload.h"

#define MILLISECOND 1000000ull

__thread struct thread_context *otel_thread_ctx_v1;
static __thread struct thread_context record;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// What a thread does again and again, and how long that kept it off its CPU.
struct waiter {
    const char *name;
    void (*wait)(void);
    unsigned times;
    int cpu;
    uint64_t off, wall;
};

static void say(const char *what, const char *name, uint64_t one, uint64_t other) {
    printf("%s %s %llu %llu\n", what, name, (unsigned long long)one, (unsigned long long)other);
}

static void nap(uint64_t nanoseconds) {
    struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1000000000u), .tv_nsec = (long)(nanoseconds % 1000000000u)};
    while (nanosleep(&time, &time) && errno == EINTR) {
    }
}

KEEP static void sleep_10(void) { nap(10 * MILLISECOND); NO_TAIL_CALL(); }
KEEP static void sleep_100(void) { nap(100 * MILLISECOND); NO_TAIL_CALL(); }
KEEP static void sleep_1000(void) { nap(1000 * MILLISECOND); NO_TAIL_CALL(); }
KEEP static void sleep_short(void) { nap(MILLISECOND / 10); NO_TAIL_CALL(); }
KEEP static void sleep_shorter(void) { nap(MILLISECOND / 20); NO_TAIL_CALL(); }
KEEP static void sleep_anywhere(void) {
    // On another CPU each time.
    static __thread int number;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)(number++ % (int)sysconf(_SC_NPROCESSORS_ONLN)), &set);
    sched_setaffinity(0, sizeof set, &set);
    nap(5 * MILLISECOND);
    NO_TAIL_CALL();
}

static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER;
KEEP static void hold_mutex(void) { nap(6 * MILLISECOND); NO_TAIL_CALL(); }
KEEP static void wait_mutex(void) {
    pthread_mutex_lock(&contended);
    hold_mutex();
    pthread_mutex_unlock(&contended);
    // Lets the other thread have it.
    nap(MILLISECOND);
}

static int ends[2];
KEEP static void write_pipe(void) {
    nap(8 * MILLISECOND);
    if (write(ends[1], "x", 1) != 1)
        abort();
}
KEEP static void read_pipe(void) {
    char byte;
    if (read(ends[0], &byte, 1) != 1)
        abort();
}

static _Atomic uint32_t word;
static void futex(int operation, uint32_t value) { syscall(SYS_futex, &word, operation, value, NULL, NULL, 0); }
KEEP static void wake_futex(void) {
    nap(9 * MILLISECOND);
    atomic_fetch_add(&word, 1);
    futex(FUTEX_WAKE_PRIVATE, 1);
}
KEEP static void wait_futex(void) {
    static uint32_t seen;
    while (atomic_load(&word) == seen)
        futex(FUTEX_WAIT_PRIVATE, seen);
    seen++;
}

static int file;
KEEP static void write_disk(void) {
    static uint32_t block[1024];
    block[0]++;
    if (pwrite(file, block, sizeof block, 0) != sizeof block || fdatasync(file))
        abort();
}

// Two threads on one CPU: one of them always waits for it.
KEEP static void burn_pinned(void) {
    for (uint64_t end = now() + 20 * MILLISECOND; now() < end;)
        spin(1000);
}

KEEP static void burn_request(void) { for (uint64_t end = cpu_time() + 30 * MILLISECOND; cpu_time() < end;) spin(1000); }
KEEP static void serve_request(void) {
    burn_request();
    nap(50 * MILLISECOND);
    NO_TAIL_CALL();
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

KEEP static void *thread_main(void *argument) {
    struct waiter *waiter = argument;
    if (waiter->cpu >= 0)
        pin(waiter->cpu);
    if (waiter->wait == serve_request) {
        memset(record.trace_id, 7, sizeof record.trace_id);
        memset(record.span_id, 7, sizeof record.span_id);
        record.valid = 1;
        otel_thread_ctx_v1 = &record;
    }
    // A thread that is new waits for a CPU first.
    sched_yield();
    uint64_t start = now(), spent = cpu_time();
    for (unsigned number = 0; number < waiter->times; number++)
        waiter->wait();
    uint64_t wall = now() - start, cpu = cpu_time() - spent;
    waiter->off = wall - cpu;
    waiter->wall = wall;
    if (waiter->wait == serve_request)
        say("wall", waiter->name, wall, cpu);
    return NULL;
}

static void run(struct waiter *waiters, unsigned count) {
    pthread_t threads[8];
    for (unsigned number = 0; number < count; number++)
        if (pthread_create(&threads[number], NULL, thread_main, &waiters[number]))
            abort();
    for (unsigned number = 0; number < count; number++) {
        pthread_join(threads[number], NULL);
        say("off", waiters[number].name, waiters[number].off, waiters[number].wall);
    }
}

#define WAITER(FUNCTION, TIMES) {.name = #FUNCTION, .wait = FUNCTION, .times = TIMES, .cpu = -1}
#define RUN(...)                                         \
    do {                                                 \
        struct waiter waiters[] = {__VA_ARGS__};         \
        run(waiters, sizeof waiters / sizeof *waiters);  \
    } while (0)

// Threads that end at once: the kernel gives their ids again.
KEEP static void *brief_main(void *off) {
    uint64_t start = now(), spent = cpu_time(), *times = off;
    sleep_10();
    times[1] = now() - start;
    times[0] = times[1] - (cpu_time() - spent);
    return NULL;
}
KEEP static void swarm(void) {
    uint64_t all[2] = {0, 0};
    for (unsigned number = 0; number < 150; number++) {
        pthread_t thread;
        uint64_t off[2] = {0, 0};
        if (pthread_create(&thread, NULL, brief_main, off) || pthread_join(thread, NULL))
            abort();
        all[0] += off[0];
        all[1] += off[1];
    }
    say("off", "brief_main", all[0], all[1]);
}

KEEP static void sleep_until_killed(void) { nap(60000 * MILLISECOND); NO_TAIL_CALL(); }
KEEP static void killed(void) {
    int said[2];
    if (pipe(said))
        abort();
    pid_t child = fork();
    if (child == 0) {
        if (write(said[1], "x", 1) != 1)
            abort();
        sleep_until_killed();
        _exit(0);
    }
    char byte;
    if (read(said[0], &byte, 1) != 1)
        abort();
    uint64_t start = now();
    nap(700 * MILLISECOND);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    uint64_t asleep = now() - start;
    say("off", "sleep_until_killed", asleep, asleep);
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    alarm(120);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(mode, "long")) {
        RUN(WAITER(sleep_10, 150), WAITER(sleep_100, 15), WAITER(sleep_1000, 2), WAITER(sleep_anywhere, 200));
    } else if (!strcmp(mode, "short")) {
        RUN(WAITER(sleep_short, 8000), WAITER(sleep_shorter, 12000));
    } else if (!strcmp(mode, "locks")) {
        if (pipe(ends))
            abort();
        RUN(WAITER(wait_mutex, 100), WAITER(wait_mutex, 100), WAITER(write_pipe, 150), WAITER(read_pipe, 150), WAITER(wake_futex, 150), WAITER(wait_futex, 150));
    } else if (!strcmp(mode, "disk")) {
        file = open(arguments[2], O_CREAT | O_RDWR, 0600);
        if (file < 0)
            abort();
        RUN(WAITER(write_disk, 300));
    } else if (!strcmp(mode, "swarm")) {
        swarm();
    } else if (!strcmp(mode, "killed")) {
        killed();
    } else if (!strcmp(mode, "pinned")) {
        RUN({.name = "burn_pinned", .wait = burn_pinned, .times = 80, .cpu = 0}, {.name = "burn_pinned", .wait = burn_pinned, .times = 80, .cpu = 0});
    } else if (!strcmp(mode, "request")) {
        RUN(WAITER(serve_request, 30));
    } else {
        return 64;
    }
    return 0;
}
