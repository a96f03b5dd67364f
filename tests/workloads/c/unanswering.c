// A program that burns CPU, and part of whose memory is a file that nobody has read: who reads that waits for the file's system.
//
// `unanswering context FILE`: the payload of the process context that it publishes (OTEP 4719).
// `unanswering variable FILE LIBRARY`: what the dynamic linker noted of a library with thread contexts (OTEP 4947).
#include "workload.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>

#include "thread_context.h"

// Beyond what is read ahead when a program is started from the file.
#define UNREAD (4 << 20)

static int file;
static uintptr_t page;

// Puts the file in the place of whole pages between two addresses.
static int hide(uintptr_t from, uintptr_t to) {
    from = (from + page - 1) / page * page;
    to = to / page * page;
    return from < to && mmap((void *)from, to - from, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, UNREAD) != MAP_FAILED;
}

static int hide_context(void) {
    struct {
        char signature[8];
        uint32_t version, payload_size;
        uint64_t published_at;
        void *payload;
    } header = {"OTEL_CTX", 2, 64, 1, NULL};
    header.payload = mmap(NULL, page, PROT_READ, MAP_PRIVATE, file, UNREAD);
    int memory = memfd_create("OTEL_CTX", MFD_CLOEXEC);
    return header.payload != MAP_FAILED && memory >= 0 && write(memory, &header, sizeof header) == sizeof header &&
           mmap(NULL, page, PROT_READ, MAP_PRIVATE, memory, 0) != MAP_FAILED;
}

static int hide_relocated(struct dl_phdr_info *library, size_t size, void *name) {
    (void)size;
    if (strcmp(library->dlpi_name, name))
        return 0;
    for (int number = 0; number < library->dlpi_phnum; number++) {
        const ElfW(Phdr) *header = &library->dlpi_phdr[number];
        uintptr_t start = library->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_GNU_RELRO)
            return hide(start / page * page, start + header->p_memsz);
    }
    return 0;
}

static int hide_variable(char *name) {
    static struct thread_context record;
    void *library = dlopen(name, RTLD_NOW);
    void (*attach)(struct thread_context *) = NULL;
    if (library)
        *(void **)&attach = dlsym(library, "attach_context");
    if (!attach)
        return 0;
    attach(&record);
    return dl_iterate_phdr(hide_relocated, name);
}

KEEP static void burn_unanswering(uint32_t rounds) { spin(rounds); }

int main(int count, char **arguments) {
    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    file = count > 2 ? open(arguments[2], O_RDONLY | O_CLOEXEC) : -1;
    int hidden = 0;
    if (file >= 0 && !strcmp(arguments[1], "context"))
        hidden = hide_context();
    if (file >= 0 && !strcmp(arguments[1], "variable") && count > 3)
        hidden = hide_variable(arguments[3]);
    if (!hidden)
        return 1;
    ready();
    while (!stopped)
        burn_unanswering(jittered(1000000));
    // Not `exit`: what that runs may lie in what is hidden.
    _exit(0);
}
