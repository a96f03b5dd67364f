// Two threads with names of their own, one with twice the work of the other, in turns:
// thread_main -> burn_twice in `alpha`, thread_main -> burn_once in `beta`.
#include "workload.h"
#include <pthread.h>

static pthread_barrier_t turn;
static uint64_t spent[2];

KEEP static void burn_twice(void) { spin(jittered(2000000)); }
KEEP static void burn_once(void) { spin(jittered(1000000)); }

KEEP static void *thread_main(void *argument) {
    int beta = argument != NULL;
    pthread_setname_np(pthread_self(), beta ? "beta" : "alpha");
    pthread_barrier_wait(&turn);
    while (!stopped) {
        uint64_t start = cpu_time();
        if (beta)
            burn_once();
        else
            burn_twice();
        spent[beta] += cpu_time() - start;
        // As much again asleep for beta, so that the shares are known when each has a processor.
        if (beta) {
            struct timespec nap = {.tv_nsec = (long)(cpu_time() - start)};
            nanosleep(&nap, NULL);
        }
    }
    return NULL;
}

int main(void) {
    pthread_t alpha, beta;
    pthread_barrier_init(&turn, NULL, 3);
    if (pthread_create(&alpha, NULL, thread_main, NULL) || pthread_create(&beta, NULL, thread_main, (void *)1))
        return 1;
    pthread_barrier_wait(&turn);
    ready();
    pthread_join(alpha, NULL);
    pthread_join(beta, NULL);
    double all = (double)(spent[0] + spent[1]);
    printf("share burn_twice %.4f\n", (double)spent[0] / all);
    printf("share burn_once %.4f\n", (double)spent[1] / all);
    return 0;
}
