// main -> call_aligned -> aligned -> back -> compute: a function in assembly without call frame information that saves
// registers in its frame, keeps the stack pointer in rbx and then aligns the stack to a page, as linear algebra does
// (OpenBLAS' dgemm_kernel_4x8_haswell.S is of that kind), and calls back into C from there.
#include "workload.h"

KEEP static void compute(void) { spin(jittered(200000)); }

KEEP __attribute__((used)) static void back(void) {
    compute();
    NO_TAIL_CALL();
}

__asm__(".text\n"
        ".type aligned, @function\n.hidden aligned\n.globl aligned\naligned:\n"
        "sub $96, %rsp\n mov %rbx, (%rsp)\n mov %rbp, 8(%rsp)\n mov %r12, 16(%rsp)\n"
        "mov %rsp, %rbx\n sub $4224, %rsp\n and $-4096, %rsp\n"
        "xor %ebp, %ebp\n mov $200000, %ecx\n"
        "1: mov %rcx, 8(%rsp)\n dec %ecx\n jnz 1b\n"
        "call back\n"
        "mov %rbx, %rsp\n mov (%rsp), %rbx\n mov 8(%rsp), %rbp\n mov 16(%rsp), %r12\n"
        "add $96, %rsp\n ret\n"
        ".size aligned, .-aligned\n");
void aligned(void);

KEEP static void call_aligned(void) {
    aligned();
    NO_TAIL_CALL();
}

int main(void) {
    ready();
    while (!stopped)
        call_aligned();
    return 0;
}
