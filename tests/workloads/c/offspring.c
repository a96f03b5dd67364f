// main: COUNT children that end at once, one after the other, then one that burns MILLISECONDS of CPU below burn_last.
#include <sys/wait.h>

#include "workload.h"

KEEP static void burn_last(uint64_t nanoseconds) {
    while (cpu_time() < nanoseconds)
        spin(jittered(100000));
    NO_TAIL_CALL();
}

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    for (int child = atoi(arguments[1]); child > 0; child--) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid < 0 || waitpid(pid, 0, 0) != pid)
            return 3;
    }
    pid_t last = fork();
    if (last == 0) {
        burn_last((uint64_t)atoi(arguments[2]) * 1000000u);
        return 0;
    }
    return waitpid(last, 0, 0) == last ? 0 : 3;
}
