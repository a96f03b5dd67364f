// main -> run_cycle -> burn_half, lie: the latter is assembly that a test links to it, with call frame information of the
// test's own.
#include "workload.h"

void lie(void);

KEEP static void burn_half(void) { spin(jittered(200000)); }

KEEP static void run_cycle(void) {
    burn_half();
    lie();
    NO_TAIL_CALL();
}

int main(void) {
    ready();
    while (!stopped)
        run_cycle();
    return 0;
}
