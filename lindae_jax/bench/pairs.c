/* Gradient descent of weight pairs, all steps of a block of pairs taken in registers.
 *
 * Compiled with -DREAL=float|double, -DBYTES= of a vector, -DVECTORS= in flight at once and
 * -DDECAY=0|1. One thread's share of the pairs; the caller starts one thread per core.
 */
#include <stddef.h>
#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

typedef REAL vector __attribute__((vector_size(BYTES)));
enum { BLOCK = VECTORS * BYTES / sizeof(REAL) };

/* inputs: w1, w2, eigenvalue, noise, decay, learning rate; outputs: w1, w2. */
void advance(ptrdiff_t num_pairs, ptrdiff_t num_steps, const REAL *const inputs[6],
             REAL *const outputs[2])
{
    for (ptrdiff_t start = 0; start < num_pairs; start += BLOCK) {
        ptrdiff_t count = num_pairs - start < BLOCK ? num_pairs - start : BLOCK;
        vector block[6][VECTORS];
        memset(block, 0, sizeof block);
        for (int i = 0; i < 6; i++)
            memcpy(block[i], inputs[i] + start, count * sizeof(REAL));

        vector w1[VECTORS], w2[VECTORS], gain[VECTORS], slope[VECTORS], shrinkage[VECTORS];
        UNROLL for (int v = 0; v < VECTORS; v++) {
            w1[v] = block[0][v];
            w2[v] = block[1][v];
            gain[v] = block[5][v] * block[2][v];
            slope[v] = block[5][v] * (block[2][v] + block[3][v]);
            shrinkage[v] = block[5][v] * block[4][v];
        }
        for (ptrdiff_t step = 0; step < num_steps; step++) {
            UNROLL for (int v = 0; v < VECTORS; v++) {
                vector g = gain[v] - slope[v] * (w1[v] * w2[v]);
#if DECAY
                vector kept1 = w1[v] - shrinkage[v] * w1[v], kept2 = w2[v] - shrinkage[v] * w2[v];
#else
                vector kept1 = w1[v], kept2 = w2[v];
#endif
                vector next1 = kept1 + g * w2[v];
                w2[v] = kept2 + g * w1[v];
                w1[v] = next1;
            }
        }
        UNROLL for (int v = 0; v < VECTORS; v++) {
            block[0][v] = w1[v];
            block[1][v] = w2[v];
        }
        for (int i = 0; i < 2; i++)
            memcpy(outputs[i] + start, block[i], count * sizeof(REAL));
    }
}
