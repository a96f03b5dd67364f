// Loads, calls and unloads two libraries in turns, mostly at the same addresses:
// main -> reload_first -> plugin_work -> first_inside -> plugin_burn, and second likewise.
#include "workload.h"
#include <dlfcn.h>

KEEP static void call(const char *path) {
    void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        abort();
    void (*work)(void) = (void (*)(void))dlsym(library, "plugin_work");
    if (!work)
        abort();
    work();
    dlclose(library);
}
KEEP static void reload_first(const char *path) {
    call(path);
    NO_TAIL_CALL();
}
KEEP static void reload_second(const char *path) {
    call(path);
    NO_TAIL_CALL();
}

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    ready();
    while (!stopped) {
        reload_first(arguments[1]);
        reload_second(arguments[2]);
    }
    return 0;
}
