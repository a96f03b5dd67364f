// Works inside a signal handler that interrupts work:
// main -> interrupted_work -> (signal frame) -> on_timer -> handle_outer -> handle_inner.
// With the argument `alternate` the handler has a stack of its own.
#include "workload.h"

static timer_t timer;
static uint64_t handled, worked;

static void arm(void) {
    struct itimerspec next = {.it_value = {.tv_nsec = jittered(8000000)}};
    if (timer_settime(timer, 0, &next, NULL))
        abort();
}

KEEP static void handle_inner(void) { spin(jittered(6000000)); }
KEEP static void handle_outer(void) {
    handle_inner();
    NO_TAIL_CALL();
}
KEEP static void on_timer(int signal) {
    (void)signal;
    uint64_t start = cpu_time();
    handle_outer();
    handled += cpu_time() - start;
    arm();
}

KEEP static void interrupted_work(void) {
    while (!stopped)
        spin(jittered(1000));
}

int main(int count, char **arguments) {
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    if (count == 2 && !strcmp(arguments[1], "alternate")) {
        stack_t stack = {.ss_sp = malloc(1 << 18), .ss_size = 1 << 18};
        if (sigaltstack(&stack, NULL))
            return 1;
        action.sa_flags |= SA_ONSTACK;
    }
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    if (sigaction(SIGUSR1, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer))
        return 1;
    ready();
    uint64_t start = cpu_time();
    arm();
    interrupted_work();
    worked = cpu_time() - start;
    printf("share on_timer %.4f\n", (double)handled / (double)worked);
    return 0;
}
