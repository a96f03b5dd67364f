// Loads BPF programs of its own and runs each of them for a while, in turn: `early` is loaded before anything else and
// stays, `alpha`, `beta`, `gamma` and `delta` are loaded each time anew and of different lengths, so that one is where
// another one was. A function of the same name runs each.
#include <errno.h>
#include <linux/bpf.h>
#include <sys/syscall.h>

#include "workload.h"

enum { MOST = 4000, REPEAT = 2000, NANOSECONDS = 20000000 };

static int load(const char *name, unsigned multiplications) {
    static struct bpf_insn code[MOST + 2];
    code[0] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1};
    for (unsigned i = 1; i <= multiplications; i++)
        code[i] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MUL | BPF_K, .imm = 7};
    code[multiplications + 1] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insns = (unsigned long)code;
    attr.insn_cnt = multiplications + 2;
    attr.license = (unsigned long)"GPL";
    strncpy(attr.prog_name, name, sizeof attr.prog_name - 1);
    int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    if (program < 0) {
        perror(name);
        exit(1);
    }
    return program;
}

static inline __attribute__((always_inline)) void run(int program) {
    unsigned char packet[64] = {0};
    uint64_t until = cpu_time() + jittered(NANOSECONDS);
    while (cpu_time() < until) {
        union bpf_attr attr;
        memset(&attr, 0, sizeof attr);
        attr.test.prog_fd = (unsigned)program;
        attr.test.repeat = REPEAT;
        attr.test.data_in = (unsigned long)packet;
        attr.test.data_size_in = sizeof packet;
        if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr) < 0 && errno != EINTR) {
            perror("run");
            exit(1);
        }
    }
}

#define RUNS(NAME)                                                                                                             \
    KEEP static void run_##NAME(int program) {                                                                                 \
        run(program);                                                                                                          \
        NO_TAIL_CALL();                                                                                                        \
    }
#define LOADS_AND_RUNS(NAME)                                                                                                   \
    do {                                                                                                                       \
        int program = load(#NAME, jittered(MOST / 2));                                                                         \
        run_##NAME(program);                                                                                                   \
        close(program);                                                                                                        \
    } while (0)

RUNS(early)
RUNS(alpha)
RUNS(beta)
RUNS(gamma)
RUNS(delta)

int main(void) {
    int early = load("early", MOST / 2);
    ready();
    while (!stopped) {
        run_early(early);
        LOADS_AND_RUNS(alpha);
        LOADS_AND_RUNS(beta);
        LOADS_AND_RUNS(gamma);
        LOADS_AND_RUNS(delta);
    }
    return 0;
}
