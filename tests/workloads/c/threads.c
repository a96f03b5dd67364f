// Two threads with names of their own, one with twice the work of the other, in turns:
// thread_main -> burn_twice in `alpha`, thread_main -> burn_once in `beta`.
#include "workload.h"
#include <pthread.h>

static pthread_barrier_t start_line, turn;
static sig_atomic_t last;
static uint64_t spent[2];

KEEP static void burn_twice(void) { spin(jittered(20000000)); }
KEEP static void burn_once(void) { spin(jittered(10000000)); }

KEEP static void *thread_main(void *argument) {
    int beta = argument != NULL;
    pthread_setname_np(pthread_self(), beta ? "beta" : "alpha");
    pthread_barrier_wait(&start_line);
    // One at a time: side by side they would slow each other, and others would change how much.
    int ends;
    do {
        uint64_t start = cpu_time();
        if (!beta) {
            burn_twice();
            spent[0] += cpu_time() - start;
            last = stopped;
        }
        pthread_barrier_wait(&turn);
        ends = last;
        start = cpu_time();
        if (beta) {
            burn_once();
            spent[1] += cpu_time() - start;
        }
        pthread_barrier_wait(&turn);
    } while (!ends);
    return NULL;
}

int main(void) {
    pthread_t alpha, beta;
    pthread_barrier_init(&start_line, NULL, 3);
    pthread_barrier_init(&turn, NULL, 2);
    if (pthread_create(&alpha, NULL, thread_main, NULL) || pthread_create(&beta, NULL, thread_main, (void *)1))
        return 1;
    pthread_barrier_wait(&start_line);
    ready();
    pthread_join(alpha, NULL);
    pthread_join(beta, NULL);
    double all = (double)(spent[0] + spent[1]);
    printf("share burn_twice %.4f\n", (double)spent[0] / all);
    printf("share burn_once %.4f\n", (double)spent[1] / all);
    return 0;
}
