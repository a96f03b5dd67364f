// Three functions that share the time, in a program whose text is 16 MiB long: most of it is empty, for
// the code of units that only debug information knows of: main -> run_cycle -> burn.
#include "workload.h"

__asm__(".pushsection .text.unlinked, \"ax\"\n"
        ".globl unit_code\n"
        "unit_code: .skip 0x1000000\n"
        ".popsection\n");

KEEP static void burn(uint32_t rounds) { spin(rounds); }

KEEP static void run_cycle(void) {
    burn(jittered(1000000));
    NO_TAIL_CALL();
}

int main(void) {
    ready();
    while (!stopped)
        run_cycle();
    return 0;
}
