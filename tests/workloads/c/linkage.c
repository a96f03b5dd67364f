// Lives in its procedure linkage table: main -> hammer_linkage -> (stub) -> tiny.
#include "workload.h"

int tiny(int number);

KEEP static void hammer_linkage(void) {
    int number = 0;
    for (uint32_t left = jittered(100000); left; left--)
        number = tiny(number);
    __asm__ volatile("" : : "r"(number));
}

int main(void) {
    ready();
    while (!stopped)
        hammer_linkage();
    return 0;
}
