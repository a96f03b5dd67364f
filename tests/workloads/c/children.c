// Makes children as fast as it can: main -> run_children -> by_vfork -> vfork, or -> by_spawn -> posix_spawn -> .. -> clone3.
#include "workload.h"
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

KEEP static void by_vfork(void) {
    pid_t child = vfork();
    if (child == 0)
        _exit(0);
    waitpid(child, 0, 0);
    NO_TAIL_CALL();
}

KEEP static void by_spawn(void) {
    char *arguments[] = {"/bin/true", 0};
    pid_t child;
    if (posix_spawn(&child, arguments[0], 0, 0, arguments, environ) == 0)
        waitpid(child, 0, 0);
    NO_TAIL_CALL();
}

KEEP static void run_children(int spawn) {
    if (spawn)
        by_spawn();
    else
        by_vfork();
    NO_TAIL_CALL();
}

int main(int count, char **arguments) {
    int spawn = count > 1 && strcmp(arguments[1], "spawn") == 0;
    ready();
    while (!stopped)
        run_children(spawn);
    return 0;
}
