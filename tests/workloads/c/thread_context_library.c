// The library that defines the variable; the model of access is the compiler's command line.
#include "thread_context.h"

__thread struct thread_context *otel_thread_ctx_v1;

__attribute__((visibility("default"), noinline)) void attach_context(struct thread_context *record) {
    otel_thread_ctx_v1 = record;
}
