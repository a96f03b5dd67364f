// The stripped library in the middle: middle_entry -> hidden -> whatever it is given.
#include "../c/workload.h"

namespace {
KEEP void hidden(void (*callback)(void *), void *argument) {
    callback(argument);
    NO_TAIL_CALL();
}
}

extern "C" void middle_entry(void (*callback)(void *), void *argument) {
    hidden(callback, argument);
    NO_TAIL_CALL();
}
