// A machine that never rests: 300 children a second that live for 1 to 50 ms, every other one as another program
// (this one, with its life in ms as its argument), the others as forks; prints how many it started when it is stopped.
#include <spawn.h>
#include <sys/wait.h>

#include "workload.h"

extern char **environ;

static const long PERIOD = 1000000000 / 300;

KEEP static void burn_briefly(void) {
    spin(jittered(400000));
    NO_TAIL_CALL();
}

static void live(unsigned milliseconds) {
    burn_briefly();
    struct timespec rest = {0, milliseconds * 1000000l};
    nanosleep(&rest, NULL);
}

int main(int count, char **arguments) {
    if (count == 2) {
        live((unsigned)atoi(arguments[1]));
        return 0;
    }
    ready();
    alarm(0);
    unsigned started = 0;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    while (!stopped) {
        unsigned milliseconds = 1 + jittered(100) % 50;
        pid_t child;
        if (started % 2) {
            char life[8];
            snprintf(life, sizeof life, "%u", milliseconds);
            char *its[] = {arguments[0], life, NULL};
            if (posix_spawn(&child, arguments[0], NULL, NULL, its, environ))
                return 1;
        } else {
            child = fork();
            if (child < 0)
                return 1;
            if (child == 0) {
                live(milliseconds);
                _exit(0);
            }
        }
        started++;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        next.tv_nsec += PERIOD;
        if (next.tv_nsec >= 1000000000) {
            next.tv_sec++;
            next.tv_nsec -= 1000000000;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    printf("started %u\n", started);
    return 0;
}
