// main -> in_library -> sort_them, print_them, take_memory: most of the time lies in functions of the C library that no symbol
// names, and in what they call back.
#include <stdio.h>
#include <stdlib.h>

#include "workload.h"

#define COUNT 1000

static int values[COUNT];

KEEP static int compare(const void *one, const void *other) {
    for (volatile int i = 0; i < 50; i++)
        ;
    return *(const int *)one - *(const int *)other;
}

KEEP static void sort_them(void) {
    for (int i = 0; i < COUNT; i++)
        values[i] = rand();
    qsort(values, COUNT, sizeof values[0], compare);
    NO_TAIL_CALL();
}

KEEP static void print_them(void) {
    char text[100];
    for (int i = 0; i < 2000; i++)
        snprintf(text, sizeof text, "%f %d %s", values[i % COUNT] * 1.7, i, "text");
    NO_TAIL_CALL();
}

KEEP static void take_memory(void) {
    static void *taken[50];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 50; i++)
            taken[i] = malloc(100 + (size_t)i * 16);
        for (int i = 0; i < 50; i++)
            free(taken[i]);
    }
    NO_TAIL_CALL();
}

KEEP static void in_library(void) {
    sort_them();
    print_them();
    take_memory();
    NO_TAIL_CALL();
}

int main(void) {
    ready();
    while (!stopped)
        in_library();
    return 0;
}
