// A function in a shared library that does little: more than the stub that leads to it, so that samples hit both.
int tiny(int number);
int tiny(int number) {
    for (int round = 0; round < 16; round++)
        __asm__ volatile("" : "+r"(number));
    return number + 1;
}
