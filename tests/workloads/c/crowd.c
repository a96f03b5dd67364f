// Loads COUNT libraries, DIRECTORY/0.so and on, and works in all of them by way of the C library:
// main -> crowd_round -> qsort of the C library -> crowd_compare -> tiny.
#include "workload.h"
#include <dlfcn.h>

typedef int (*function)(int);

static function *functions;
static int count;

KEEP static int crowd_compare(const void *left, const void *right) {
    const int *a = left, *b = right;
    spin(2000);
    int result = functions[*a](1) + functions[*b](1);
    NO_TAIL_CALL();
    return result ? *a - *b : 0;
}

KEEP static void crowd_round(int *order) {
    for (int at = 0; at < count; at++)
        order[at] = (int)(jittered(1u << 30) % (unsigned)count);
    qsort(order, (size_t)count, sizeof *order, crowd_compare);
    NO_TAIL_CALL();
}

int main(int arguments, char **argument) {
    if (arguments != 3)
        return 2;
    count = atoi(argument[2]);
    functions = calloc((size_t)count, sizeof *functions);
    int *order = calloc((size_t)count, sizeof *order);
    for (int at = 0; at < count; at++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d.so", argument[1], at);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library)
            return 3;
        functions[at] = (function)dlsym(library, "tiny");
        if (!functions[at])
            return 4;
    }
    ready();
    while (!stopped)
        crowd_round(order);
    return 0;
}
