/* How long a number takes from one core to another: two threads hand it to and fro. */
#include <stdatomic.h>
#include <time.h>

enum { NOBODY = -1 };
static _Alignas(128) atomic_int turn = NOBODY;

static void hand_over(int from, int to)
{
    while (atomic_load_explicit(&turn, memory_order_acquire) != from)
        ;
    atomic_store_explicit(&turn, to, memory_order_release);
}

/* One thread's part, for rounds > 0: the server, who begins, returns nanoseconds for one way. */
double play(int serves, int rounds)
{
    struct timespec start, end;
    if (!serves) {
        hand_over(NOBODY, 0); /* There, once the server has seen the end of the game before. */
        for (int i = 0; i < rounds; i++)
            hand_over(2 * i + 1, 2 * i + 2);
        return 0;
    }
    hand_over(0, 1);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 1; i < rounds; i++)
        hand_over(2 * i, 2 * i + 1);
    hand_over(2 * rounds, NOBODY);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / (2.0 * rounds);
}
