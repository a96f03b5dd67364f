// main -> begin_descent -> descend x DEPTH -> bottom, DEPTH being the argument.
#include "workload.h"

KEEP static void bottom(void) { spin(jittered(1000000)); }

KEEP static void descend(int levels) {
    // A frame that is not all registers.
    volatile int kept[4] = {levels, levels, levels, levels};
    if (levels > 1) {
        descend(kept[1] - 1);
    } else {
        while (!stopped)
            bottom();
    }
    NO_TAIL_CALL();
}

KEEP static void begin_descent(int depth) {
    descend(depth);
    NO_TAIL_CALL();
}

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    ready();
    begin_descent(atoi(arguments[1]));
    return 0;
}
