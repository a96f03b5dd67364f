// Ends, by a thread that is not the first, with half a gibibyte of memory that the kernel has to take back page by page.
// It does not say `ready`: its end is what is looked at.
#include "workload.h"
#include <pthread.h>
#include <sys/mman.h>

#define BYTES ((size_t)1 << 29)

KEEP static void *leave(void *argument) {
    (void)argument;
    _exit(0);
}

static void *idle(void *argument) {
    for (;;)
        pause();
    return argument;
}

int main(void) {
    char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || madvise(memory, BYTES, MADV_NOHUGEPAGE))
        return 1;
    for (size_t page = 0; page < BYTES; page += 4096)
        memory[page] = 1;
    pthread_t thread;
    if (pthread_create(&thread, NULL, idle, NULL) || pthread_create(&thread, NULL, leave, NULL))
        return 1;
    pthread_join(thread, NULL);
    return 0;
}
