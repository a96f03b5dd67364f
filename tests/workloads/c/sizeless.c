// main -> hidden_middle -> hidden_leaf behind `tiny`, an exported function of hand-written assembly whose symbol states no
// size. Stripped, only `tiny` has a name.
#include "workload.h"

__asm__(".text\n.globl tiny\ntiny: ret\n");
void tiny(void);

KEEP static void hidden_leaf(void) { spin(jittered(1000000)); }
KEEP static void hidden_middle(void) {
    hidden_leaf();
    NO_TAIL_CALL();
}

int main(void) {
    tiny();
    ready();
    while (!stopped)
        hidden_middle();
    return 0;
}
