// C++: inlined methods, exceptions, and a call through a stripped library and back.
//
// main -> shapes::run_inlined -> [inlined: Square::area_sum -> Accumulator::add -> mix]
// main -> shapes::run_exceptions -> shapes::thrower -> shapes::descend (17 times) -> shapes::burn_then_throw
// main -> shapes::run_through_library -> middle_entry -> (no name) -> shapes::called_back
#include "../c/workload.h"
#include <stdexcept>

extern "C" void middle_entry(void (*callback)(void *), void *argument);

namespace shapes {

static inline __attribute__((always_inline)) uint32_t mix(uint32_t value) {
    value ^= value << 13;
    __asm__ volatile("" : "+r"(value));
    value ^= value >> 17;
    __asm__ volatile("" : "+r"(value));
    return value * 2654435761u;
}

struct Accumulator {
    uint32_t sum = 1;
    inline __attribute__((always_inline)) void add(uint32_t value) {
        sum += mix(value);
        __asm__ volatile("" : "+r"(sum));
    }
};

struct Square {
    uint32_t side;
    inline __attribute__((always_inline)) uint32_t area_sum(uint32_t rounds) const {
        Accumulator accumulator;
        for (uint32_t round = 0; round < rounds; round++)
            accumulator.add(side * round);
        return accumulator.sum;
    }
};

template <typename Shape> KEEP uint32_t run_inlined(const Shape &shape) { return shape.area_sum(jittered(400000)); }

KEEP void burn_then_throw() {
    spin(jittered(20000));
    throw std::runtime_error("expected");
}
// A runtime spends its time on the frames between who throws and who catches, as in programs of some size: while it writes
// the registers of the frame that catches over those that it has saved, nothing in memory tells where it was called from.
KEEP void descend(int left) {
    if (left)
        descend(left - 1);
    else
        burn_then_throw();
    NO_TAIL_CALL();
}
KEEP void thrower() {
    descend(16);
    NO_TAIL_CALL();
}
KEEP void run_exceptions() {
    for (int left = 20; left; left--) {
        try {
            thrower();
        } catch (const std::runtime_error &) {
            NO_TAIL_CALL();
        }
    }
}

KEEP void called_back(void *) { spin(jittered(400000)); }
KEEP void run_through_library() {
    middle_entry(called_back, nullptr);
    NO_TAIL_CALL();
}

}

int main() {
    ready();
    volatile uint32_t sum = 0;
    while (!stopped) {
        sum = sum + shapes::run_inlined(shapes::Square{3});
        shapes::run_exceptions();
        shapes::run_through_library();
    }
    return 0;
}
