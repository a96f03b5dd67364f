// A chain of calls in which a return probe is on `probed`, and another one on `outer` around it, as a tracer would put them there: the
// kernel has replaced the return addresses of both.
#include "workload.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>

// Some two thousand probed calls a second: of more the kernel's own work on them would be the most of the samples.
KEEP static void leaf(void) {
    spin(jittered(1000000));
}

KEEP void probed(void) {
    leaf();
    NO_TAIL_CALL();
}

KEEP static void between(void) {
    probed();
    NO_TAIL_CALL();
}

KEEP void outer(void) {
    between();
    NO_TAIL_CALL();
}

KEEP static void above(void) {
    outer();
    NO_TAIL_CALL();
}

static unsigned number(const char *path, const char *format) {
    FILE *file = fopen(path, "r");
    unsigned number;
    if (!file || fscanf(file, format, &number) != 1) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return number;
}

// Where in the program's file the function is.
static unsigned long place(void (*function)(void)) {
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long start, end, offset, address = (unsigned long)function;
    char line[4096];
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 && start <= address && address < end) {
            fclose(maps);
            return address - start + offset;
        }
    exit(1);
}

static void probe_return(void (*function)(void)) {
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.size = sizeof attr;
    attr.type = number("/sys/bus/event_source/devices/uprobe/type", "%u");
    attr.config = 1ull << number("/sys/bus/event_source/devices/uprobe/format/retprobe", "config:%u");
    attr.config1 = (unsigned long)"/proc/self/exe";
    attr.config2 = place(function);
    if (syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) < 0) {
        perror("perf_event_open");
        exit(1);
    }
}

int main(void) {
    probe_return(probed);
    probe_return(outer);
    ready();
    while (!stopped)
        above();
    return 0;
}
