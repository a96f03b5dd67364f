// main -> near_middle -> near_leaf and -> far_middle -> far_leaf, which are linked 128 MiB away.
#include "workload.h"

#define FAR __attribute__((section(".far_text")))

KEEP static FAR void far_leaf(void) { spin(jittered(100000)); }
KEEP static FAR void far_middle(void) {
    far_leaf();
    NO_TAIL_CALL();
}
KEEP static void near_leaf(void) { spin(jittered(100000)); }
KEEP static void near_middle(void) {
    near_leaf();
    far_middle();
    NO_TAIL_CALL();
}

int main(void) {
    ready();
    while (!stopped)
        near_middle();
    return 0;
}
