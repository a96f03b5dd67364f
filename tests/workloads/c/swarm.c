// Starts the program of its first argument again and again, one at a time, for as long as it is not
// stopped; prints how many it started and the CPU time that they used.
#include "workload.h"
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    ready();
    unsigned started = 0;
    char *child_arguments[] = {arguments[1], NULL};
    while (!stopped) {
        pid_t child;
        int status;
        if (posix_spawn(&child, arguments[1], NULL, NULL, child_arguments, environ))
            return 1;
        while (waitpid(child, &status, 0) < 0)
            ;
        if (status)
            return 1;
        started++;
    }
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    printf("started %u\n", started);
    printf("cpu_seconds %.4f\n", (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                                     (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
