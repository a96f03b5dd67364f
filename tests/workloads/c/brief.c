// Lives for 20 ms of CPU time: main -> brief_work -> brief_burn.
#include "workload.h"

KEEP static void brief_burn(void) {
    while (cpu_time() < 20000000u)
        spin(20000);
}
KEEP static void brief_work(void) {
    brief_burn();
    NO_TAIL_CALL();
}

int main(void) {
    brief_work();
    return 0;
}
