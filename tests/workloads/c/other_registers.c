// main -> call_assembly -> on_rax -> beneath_rax: the frame of the middle one is found by a register that only an agreement between
// the two keeps, as in OpenSSL's AES-GCM.
#include "workload.h"

__asm__(".text\n"
        ".hidden on_rax\n.globl on_rax\n.type on_rax, @function\non_rax:\n.cfi_startproc\n"
        "lea (%rsp), %rax\n.cfi_def_cfa_register %rax\n"
        "push %rbx\n.cfi_offset %rbx, -16\n"
        "sub $192, %rsp\n and $-128, %rsp\n"
        "call beneath_rax\n"
        "mov -8(%rax), %rbx\n.cfi_restore %rbx\n"
        "lea (%rax), %rsp\n.cfi_def_cfa_register %rsp\n ret\n.cfi_endproc\n.size on_rax, . - on_rax\n"
        ".type beneath_rax, @function\nbeneath_rax:\n.cfi_startproc\n"
        "mov $200000, %ecx\n1: dec %ecx\n jnz 1b\n ret\n.cfi_endproc\n.size beneath_rax, . - beneath_rax\n");
void on_rax(void);

KEEP static void call_assembly(void) {
    on_rax();
    NO_TAIL_CALL();
}

int main(void) {
    ready();
    while (!stopped)
        call_assembly();
    return 0;
}
