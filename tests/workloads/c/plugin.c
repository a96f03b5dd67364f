// A shared library that is loaded and unloaded: plugin_work -> NAME -> plugin_burn, NAME given by the build.
// Its calls go through a procedure linkage table that is bound when first used, so each load resolves them anew.
#include "workload.h"
#include <ctype.h>
#include <math.h>

KEEP static void plugin_burn(void) { spin(jittered(400000)); }

KEEP static void NAME(void) {
    plugin_burn();
    NO_TAIL_CALL();
}

void plugin_work(void) {
    volatile double number = jittered(1000);
    number = sin(number) + cos(number) + exp(number / 1e4) + log(number + 2) + atan(number) + cbrt(number);
    NAME();
    NO_TAIL_CALL();
}
