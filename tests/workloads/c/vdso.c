// Lives in the vDSO: main -> ask_clock -> clock_gettime -> __vdso_clock_gettime.
#include "workload.h"

static struct timespec now;

KEEP static void ask_clock(void) {
    for (uint32_t left = jittered(100000); left; left--)
        clock_gettime(CLOCK_MONOTONIC, &now);
}

int main(void) {
    ready();
    while (!stopped)
        ask_clock();
    return 0;
}
