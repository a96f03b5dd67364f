// The main thread ends; a worker goes on: thread_main -> burn_alone. It is `ready` once the main thread has ended.
#include <pthread.h>

#include "workload.h"

KEEP static void burn_alone(void) { spin(jittered(1000000)); }

static int main_thread_ended(void) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (!fgets(line, sizeof line, file))
        line[0] = 0;
    fclose(file);
    char *end = strrchr(line, ')');
    return end && end[2] == 'Z';
}

KEEP static void *thread_main(void *argument) {
    (void)argument;
    while (!main_thread_ended())
        burn_alone();
    ready();
    while (!stopped)
        burn_alone();
    exit(0);
}

int main(void) {
    pthread_t worker;
    if (pthread_create(&worker, NULL, thread_main, NULL))
        return 1;
    pthread_exit(NULL);
}
