/* 2 x 2 matrices of the two-visit model: of one trial, symmetric, and of LANES practices side by side. */
#ifndef SIMTRIAL_TWO_BY_TWO_H
#define SIMTRIAL_TWO_BY_TWO_H

#include "rows.h"

typedef struct {
    double m00, m01, m11;
} symmetric;

/* Of four practices; they need not be symmetric. */
typedef struct {
    lanes m00, m01, m10, m11;
} four;

INLINE four times(four a, four b) {
    four out;
    out.m00 = a.m00 * b.m00 + a.m01 * b.m10;
    out.m01 = a.m00 * b.m01 + a.m01 * b.m11;
    out.m10 = a.m10 * b.m00 + a.m11 * b.m10;
    out.m11 = a.m10 * b.m01 + a.m11 * b.m11;
    return out;
}

INLINE four transposed(four a) { return (four){a.m00, a.m10, a.m01, a.m11}; }

INLINE four scaled(four a, lanes by) {
    return (four){a.m00 * by, a.m01 * by, a.m10 * by, a.m11 * by};
}

INLINE void add(four *to, four a) {
    to->m00 += a.m00, to->m01 = to->m01 + a.m01;
    to->m10 += a.m10, to->m11 = to->m11 + a.m11;
}

INLINE four less(four a, four b) {
    return (four){a.m00 - b.m00, a.m01 - b.m01, a.m10 - b.m10, a.m11 - b.m11};
}

INLINE four everywhere(symmetric a) { return (four){all(a.m00), all(a.m01), all(a.m01), all(a.m11)}; }

/* Of LANES practices from j on. */
INLINE four from_three(const double *three, Py_ssize_t practices, Py_ssize_t j) {
    lanes across = together(three + practices + j);
    return (four){together(three + j), across, across, together(three + 2 * practices + j)};
}

INLINE four identity(void) { return (four){all(1.0), all(0.0), all(0.0), all(1.0)}; }

INLINE symmetric summed(four a) {
    return (symmetric){sum_of(a.m00), 0.5 * (sum_of(a.m01) + sum_of(a.m10)), sum_of(a.m11)};
}

/* W A W of symmetric matrices. */
INLINE symmetric between(symmetric w, symmetric a) {
    double h00 = w.m00 * a.m00 + w.m01 * a.m01, h01 = w.m00 * a.m01 + w.m01 * a.m11;
    double h10 = w.m01 * a.m00 + w.m11 * a.m01, h11 = w.m01 * a.m01 + w.m11 * a.m11;
    return (symmetric){h00 * w.m00 + h01 * w.m01, h00 * w.m01 + h01 * w.m11, h10 * w.m01 + h11 * w.m11};
}

INLINE double determinant_of(symmetric a) { return a.m00 * a.m11 - a.m01 * a.m01; }

/* A A. */
INLINE symmetric squared(symmetric a) {
    return (symmetric){a.m00 * a.m00 + a.m01 * a.m01, a.m00 * a.m01 + a.m01 * a.m11, a.m01 * a.m01 + a.m11 * a.m11};
}

/* Precision matrices of the three patterns. */
INLINE void precisions(symmetric e, symmetric *w) {
    double determinant = determinant_of(e);
    w[0] = (symmetric){e.m11 / determinant, -e.m01 / determinant, e.m00 / determinant};
    w[1] = (symmetric){1.0 / e.m00, 0.0, 0.0};
    w[2] = (symmetric){0.0, 0.0, 1.0 / e.m11};
}

#endif
