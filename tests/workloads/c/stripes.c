// Works at the same part of each second by the clock: `stripe` from 200 to 400 ms, `other` from 600 to 680 ms, for so many
// seconds. Prints when it did, by the clock in ns, and its CPU time: `NAME START END CPU`.
#include "workload.h"

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

KEEP static void stripe(uint64_t until) {
    while (now() < until)
        spin(1000);
    NO_TAIL_CALL();
}

KEEP static void other(uint64_t until) {
    while (now() < until)
        spin(1000);
    NO_TAIL_CALL();
}

static void run(const char *name, void (*work)(uint64_t), uint64_t from, uint64_t until) {
    struct timespec time = {(time_t)(from / 1000000000u), (long)(from % 1000000000u)};
    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &time, NULL) != 0)
        continue;
    uint64_t start = now(), cpu = cpu_time();
    work(until);
    cpu = cpu_time() - cpu;
    printf("%s %llu %llu %llu\n", name, (unsigned long long)start, (unsigned long long)now(), (unsigned long long)cpu);
}

int main(int count, char **words) {
    uint64_t seconds = count > 1 ? strtoull(words[1], NULL, 10) : 1;
    uint64_t first = now() / 1000000000u + 1;
    for (uint64_t second = first; second < first + seconds; second++) {
        uint64_t at = second * 1000000000u;
        run("stripe", stripe, at + 200000000u, at + 400000000u);
        run("other", other, at + 600000000u, at + 680000000u);
    }
    return 0;
}
