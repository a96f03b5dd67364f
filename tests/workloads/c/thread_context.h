// A thread's context as OTEP 4947 has it: a record that an exported thread-local pointer points to.
#pragma once
#include <stdint.h>

struct __attribute__((packed)) thread_context {
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t valid;
    uint8_t trace_flags;
    uint16_t attributes_size;
};

extern __thread struct thread_context *otel_thread_ctx_v1 __attribute__((visibility("default")));

// Makes `record` the calling thread's context. In the file that defines the variable.
void attach_context(struct thread_context *record);
