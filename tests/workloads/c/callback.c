// Called back by the C library: main -> sort_all -> qsort -> .. -> compare_numbers -> weigh.
#include "workload.h"

#define NUMBERS 4000

static uint32_t numbers[NUMBERS];

KEEP static uint32_t weigh(uint32_t number) {
    spin(jittered(200));
    return number;
}

KEEP static int compare_numbers(const void *left, const void *right) {
    uint32_t a = weigh(*(const uint32_t *)left), b = weigh(*(const uint32_t *)right);
    return (a > b) - (a < b);
}

KEEP static void sort_all(void) {
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = jittered(1u << 30);
    qsort(numbers, NUMBERS, sizeof numbers[0], compare_numbers);
    NO_TAIL_CALL();
}

int main(void) {
    ready();
    while (!stopped)
        sort_all();
    return 0;
}
