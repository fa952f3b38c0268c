/* Exponentials of all lanes together, of numbers that are not positive, to within two units in the last place. */
#ifndef SIMTRIAL_EXPONENTIAL_H
#define SIMTRIAL_EXPONENTIAL_H

#include "lanes.h"

/* e^x = 2^k e^r with k the nearest whole number to x / log 2 and r at most 0.3466 in size, of whose series terms after
   the thirteenth are below 1e-17 of the whole. Below -708, where the result is hardly a number any more, 0. */
INLINE lanes exponential(lanes x) {
    static const double INVERSE[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                                     1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5};
    lanes shifted = x * 0x1.71547652b82fep+0 + 6755399441055744.0, k = shifted - 6755399441055744.0;
    lanes r = (x - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33, sum = all(INVERSE[0]);
    for (int term = 1; term < 12; term++) sum = sum * r + INVERSE[term];
    lanes scale = (lanes)(((choice)shifted + 1023) << 52); /* the last places of `shifted` are k */
    return chosen(x < -708.0, all(0.0), (1.0 + (r + r * r * sum)) * scale);
}

#endif
