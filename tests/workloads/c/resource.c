// A program that publishes its resource as OTEP 4719 has it and burns CPU: service.name = shop, shop-2 from SIGUSR1
// on; service.version = 1.2.3.
#include "workload.h"

#include <stdatomic.h>
#include <sys/mman.h>

struct header {
    char signature[8];
    uint32_t version;
    uint32_t payload_size;
    _Atomic uint64_t published_at;
    const void *payload;
};

static volatile sig_atomic_t renamed;
static void rename_service(int signal) {
    (void)signal;
    renamed = 1;
}

KEEP static void burn_published(uint32_t rounds) { spin(rounds); }

static uint8_t *field(uint8_t *at, uint8_t number, const void *bytes, size_t length) {
    *at++ = (uint8_t)(number << 3 | 2);
    *at++ = (uint8_t)length;
    memcpy(at, bytes, length);
    return at + length;
}

// A KeyValue with a string, as attribute of a Resource.
static uint8_t *attribute(uint8_t *at, const char *key, const char *value) {
    uint8_t any[100], pair[200];
    size_t any_length = (size_t)(field(any, 1, value, strlen(value)) - any);
    uint8_t *end = field(pair, 1, key, strlen(key));
    end = field(end, 2, any, any_length);
    return field(at, 1, pair, (size_t)(end - pair));
}

static size_t context(uint8_t *payload, const char *service) {
    uint8_t resource[240];
    uint8_t *end = attribute(resource, "service.name", service);
    end = attribute(end, "service.version", "1.2.3");
    return (size_t)(field(payload, 1, resource, (size_t)(end - resource)) - payload);
}

int main(void) {
    static uint8_t first[256], second[256];
    int file = memfd_create("OTEL_CTX", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, sizeof(struct header)))
        return 1;
    struct header *header = mmap(NULL, sizeof *header, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    close(file);
    if (header == MAP_FAILED)
        return 1;
    memcpy(header->signature, "OTEL_CTX", 8);
    header->version = 2;
    header->payload_size = (uint32_t)context(first, "shop");
    header->payload = first;
    atomic_store(&header->published_at, 1);
    signal(SIGUSR1, rename_service);
    ready();
    while (!stopped) {
        burn_published(jittered(1000000));
        if (renamed) {
            renamed = 0;
            atomic_store(&header->published_at, 0);
            atomic_thread_fence(memory_order_seq_cst);
            header->payload_size = (uint32_t)context(second, "shop-2");
            header->payload = second;
            atomic_thread_fence(memory_order_seq_cst);
            atomic_store(&header->published_at, 2);
        }
    }
    return 0;
}
