// Copies its own code to memory of no file and puts that where the code was, all of it or (`part`) one page alone, as
// programs do that want their code in huge pages; then spins at the end of a known chain.
#include "workload.h"

#include <sys/mman.h>

KEEP static void leaf(void) {
    spin(jittered(100000));
}

KEEP static void middle(void) {
    leaf();
    NO_TAIL_CALL();
}

KEEP static void top(void) {
    middle();
    NO_TAIL_CALL();
}

// Where the mapping of the code is that `address` is in.
static void find(unsigned long address, unsigned long *start, unsigned long *end) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx", start, end) == 2 && *start <= address && address < *end)
            break;
    fclose(maps);
}

// On a page of its own, so that there is more code than one page.
__attribute__((noipa, aligned(4096))) static void replace(unsigned long start, unsigned long end) {
    size_t bytes = end - start;
    void *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(copy, (void *)start, bytes);
    mprotect(copy, bytes, PROT_READ | PROT_EXEC);
    if (mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)start) == MAP_FAILED)
        exit(1);
}

int main(int count, char **arguments) {
    unsigned long start, end;
    find((unsigned long)leaf, &start, &end);
    if (count > 1 && !strcmp(arguments[1], "part")) {
        unsigned long page = (unsigned long)leaf & ~4095ul;
        if (page > start)
            start = page;
        end = page + 4096;
    }
    replace(start, end);
    ready();
    while (!stopped)
        top();
    return 0;
}
