/* Stacks of every kind that compilers and C libraries make, for the walker's tests: executed
 * one instruction at a time by the tracer. Exits 0. */
#define _GNU_SOURCE
#include <alloca.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile unsigned sink;
static jmp_buf back;

__attribute__((noinline)) static unsigned leaf(unsigned value) {
  return value * 2654435761u + sink;
}

/* Few callee-saved registers, an outgoing stack argument. */
__attribute__((noinline)) static unsigned many(unsigned a, unsigned b, unsigned c, unsigned d,
                                               unsigned e, unsigned f, unsigned g, unsigned h) {
  unsigned x = leaf(a + h), y = leaf(b + g), z = leaf(c + f);
  return x ^ y ^ z ^ leaf(d + e);
}

__attribute__((noinline)) static unsigned recurse(unsigned depth) {
  if (depth == 0)
    return many(1, 2, 3, 4, 5, 6, 7, 8);
  unsigned below = recurse(depth - 1);
  return below + leaf(depth);
}

/* A frame of variable size: the CFA is on the frame pointer. */
__attribute__((noinline)) static unsigned variable(unsigned size) {
  char *room = alloca(size);
  memset(room, 1, size);
  return recurse(3) + room[size / 2];
}

/* A realigned frame of variable size: the CFA is behind a pointer, registers are saved relative
 * to the frame pointer. */
__attribute__((noinline)) static unsigned realigned(unsigned size, unsigned a, unsigned b) {
  struct { unsigned words[32]; } __attribute__((aligned(64))) block;
  char *room = alloca(size);
  for (unsigned i = 0; i < 32; i++)
    block.words[i] = leaf(a + i) + b;
  memset(room, 2, size);
  sink += variable(size + 16);
  return block.words[a % 32] + room[b % size] + leaf(b);
}

static int compare(const void *left, const void *right) {
  unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
  sink += leaf(a);
  return (a > b) - (a < b);
}

static void nested(int number) {
  sink += recurse(2) + (unsigned)number;
}

static void handler(int number) {
  sink += (unsigned)number;
  raise(SIGUSR2);
  sink += recurse(1);
}

static void handler_info(int number, siginfo_t *info, void *context) {
  (void)context;
  sink += (unsigned)number + (unsigned)info->si_code + recurse(2);
}

__attribute__((noinline)) static void jump(unsigned depth) {
  if (depth == 0)
    longjmp(back, 1);
  jump(depth - 1);
  sink++;
}

__attribute__((noinline)) static void fault(volatile unsigned *address) {
  sink += *address;
}

static void on_fault(int number) {
  sink += recurse(1) + (unsigned)number;
  longjmp(back, 2);
}

int main(int argc, char **argv) {
  unsigned numbers[24];
  for (unsigned i = 0; i < 24; i++)
    numbers[i] = i * 7919u % 101u;
  sink += recurse(20);
  sink += realigned(100 + (unsigned)argc, 3, 5);
  qsort(numbers, 24, sizeof numbers[0], compare);
  unsigned key = numbers[7];
  sink += bsearch(&key, numbers, 24, sizeof key, compare) != NULL;

  signal(SIGUSR2, nested);
  signal(SIGUSR1, handler);
  raise(SIGUSR1);

  static char alternate[65536];
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&stack, NULL);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler_info;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGALRM, &action, NULL);
  raise(SIGALRM);

  if (setjmp(back) == 0)
    jump(5);
  memset(&action, 0, sizeof action);
  action.sa_handler = on_fault;
  sigaction(SIGSEGV, &action, NULL);
  if (setjmp(back) == 0)
    fault((volatile unsigned *)8);

  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  char text[64];
  snprintf(text, sizeof text, "%u %s %.3f", sink, argv[0], 1.5);
  sink += (unsigned)strlen(text);
  return 0;
}
