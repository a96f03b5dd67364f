// main -> call_assembly -> frameless_zero, frameless_junk: functions in assembly without call frame information that use the
// frame pointer as they like, as media codecs and linear algebra do. In one it is zero, in the other it points to
// what looks like a frame.
#include "workload.h"

__asm__(".text\n"
        ".hidden frameless_zero\n.globl frameless_zero\nframeless_zero:\n"
        "push %rbp\n xor %ebp, %ebp\n mov $200000, %ecx\n"
        "1: dec %ecx\n jnz 1b\n pop %rbp\n ret\n"
        ".hidden frameless_junk\n.globl frameless_junk\nframeless_junk:\n"
        "push %rbp\n sub $64, %rsp\n movq $0, 16(%rsp)\n"
        "movabs $0x1122334455, %rax\n mov %rax, 24(%rsp)\n lea 16(%rsp), %rbp\n mov $200000, %ecx\n"
        "1: dec %ecx\n jnz 1b\n add $64, %rsp\n pop %rbp\n ret\n");
void frameless_zero(void);
void frameless_junk(void);

KEEP static void call_assembly(void) {
    frameless_zero();
    frameless_junk();
    NO_TAIL_CALL();
}

int main(void) {
    ready();
    while (!stopped)
        call_assembly();
    return 0;
}
