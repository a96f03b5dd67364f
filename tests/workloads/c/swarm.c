// Starts the program of its first argument again and again, one at a time, with its third argument if there is one, until
// it is stopped or has started as many as its second argument says; prints how many and the CPU time that they used.
#include "workload.h"
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

int main(int count, char **arguments) {
    if (count < 2)
        return 2;
    unsigned most = count > 2 ? (unsigned)atoi(arguments[2]) : ~0u;
    ready();
    unsigned started = 0;
    char *child_arguments[] = {arguments[1], count > 3 ? arguments[3] : NULL, NULL};
    while (!stopped && started < most) {
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
