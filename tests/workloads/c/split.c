// CPU time split 50 / 30 / 20 between three leaves: main -> run_cycle -> share_* -> burn_*.
#include "workload.h"

// A cycle of several samples: how many of them fall into a part is then hardly a matter of chance.
#define ROUNDS 20000000u

static uint64_t spent[3];

KEEP static void burn_half(uint32_t rounds) { spin(rounds); }
KEEP static void burn_third(uint32_t rounds) { spin(rounds); }
KEEP static void burn_fifth(uint32_t rounds) { spin(rounds); }

KEEP static void share_half(void) {
    burn_half(jittered(ROUNDS / 10 * 5));
    NO_TAIL_CALL();
}
KEEP static void share_third(void) {
    burn_third(jittered(ROUNDS / 10 * 3));
    NO_TAIL_CALL();
}
KEEP static void share_fifth(void) {
    burn_fifth(jittered(ROUNDS / 10 * 2));
    NO_TAIL_CALL();
}

KEEP static void run_cycle(void) {
    uint64_t start = cpu_time();
    share_half();
    uint64_t half = cpu_time();
    share_third();
    uint64_t third = cpu_time();
    share_fifth();
    uint64_t fifth = cpu_time();
    spent[0] += half - start;
    spent[1] += third - half;
    spent[2] += fifth - third;
}

int main(void) {
    ready();
    while (!stopped)
        run_cycle();
    double all = (double)(spent[0] + spent[1] + spent[2]);
    printf("share burn_half %.4f\n", (double)spent[0] / all);
    printf("share burn_third %.4f\n", (double)spent[1] / all);
    printf("share burn_fifth %.4f\n", (double)spent[2] / all);
    return 0;
}
