// Two contexts of makecontext take turns with main: in_main -> burn_main, and enter_context -> in_context -> burn_context.
#include <stdlib.h>
#include <ucontext.h>

#include "workload.h"

#define STACK_BYTES (64 << 10)
#define ROUNDS 200000u

static ucontext_t program, context;

KEEP static void burn_main(void) {
    spin(ROUNDS);
    NO_TAIL_CALL();
}

KEEP static void burn_context(void) {
    spin(ROUNDS);
    NO_TAIL_CALL();
}

KEEP static void in_context(void) {
    burn_context();
    NO_TAIL_CALL();
}

KEEP static void enter_context(void) {
    for (;;) {
        in_context();
        swapcontext(&context, &program);
    }
}

int main(void) {
    getcontext(&context);
    context.uc_stack.ss_sp = malloc(STACK_BYTES);
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = &program;
    makecontext(&context, enter_context, 0);
    ready();
    while (!stopped) {
        burn_main();
        swapcontext(&program, &context);
    }
    return 0;
}
