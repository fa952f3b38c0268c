/* Natural logarithms of all lanes together, to within two units in the last place. */
#ifndef SIMTRIAL_LOGARITHM_H
#define SIMTRIAL_LOGARITHM_H

#include "lanes.h"

#include <float.h>
#include <math.h>

/* A number as 2^power times a fraction from 1 to below 2. */
INLINE choice power_of_two(lanes value) { return ((choice)value >> 52) - 1023; }
INLINE lanes fraction(lanes value) { return (lanes)(((choice)value & 0x000fffffffffffffLL) | 0x3ff0000000000000LL); }

/* Whole numbers below 2^51 as real ones: the last places of a number near 1.5 * 2^52 count ones. */
INLINE lanes as_numbers(choice whole) { return (lanes)(whole + 0x4338000000000000LL) - 6755399441055744.0; }

/* log x = k log 2 + log m with m from sqrt(1/2) to sqrt(2), and with s = (m - 1) / (m + 1), at most 0.1716 in size,
   log m = 2 (s + s^3 / 3 + s^5 / 5 + ...), of which terms after the eleventh are below 1e-17 of the whole. */
INLINE lanes logarithm(lanes value) {
    if (any_of(~((value >= DBL_MIN) & (value <= DBL_MAX)))) {
        EACH(l) value[l] = log(value[l]);
        return value;
    }
    choice power = power_of_two(value);
    lanes m = fraction(value);
    choice large = m > 1.4142135623730951;
    m = chosen(large, 0.5 * m, m), power -= large; /* where true a comparison is -1 */
    lanes s = (m - 1.0) / (m + 1.0), square = s * s, sum = all(1.0 / 23.0), k = as_numbers(power);
    for (int odd = 21; odd >= 3; odd -= 2) sum = sum * square + 1.0 / odd;
    /* log 2 in two parts, the first short enough for its multiples to be exact */
    return k * 0x1.62e42fee00000p-1 + (2.0 * s + (2.0 * s * square * sum + k * 0x1.a39ef35793c76p-33));
}

#endif
