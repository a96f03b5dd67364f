// Lives in system calls: main -> outer_calls -> middle_calls -> leaf_calls -> read.
#include "workload.h"
#include <fcntl.h>

// So large that next to no time passes outside of the system call.
static char buffer[8 << 20];

KEEP static void leaf_calls(int zero) {
    if (read(zero, buffer, jittered(sizeof buffer / 2)) < 0)
        abort();
    NO_TAIL_CALL();
}
KEEP static void middle_calls(int zero) {
    leaf_calls(zero);
    NO_TAIL_CALL();
}
KEEP static void outer_calls(int zero) {
    middle_calls(zero);
    NO_TAIL_CALL();
}

int main(void) {
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (zero < 0)
        return 1;
    ready();
    while (!stopped)
        outer_calls(zero);
    return 0;
}
