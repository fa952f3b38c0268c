/* One trial by itself: matrices whose rows are filled up with zeros to a whole number of vectors. Sums over a row, and
   over practices LANES side by side, are taken in the same order on every processor. */
#ifndef SIMTRIAL_ROWS_H
#define SIMTRIAL_ROWS_H

#include "lanes.h"

#include <math.h>

/* Numbers in a row that has room for so many. */
INLINE Py_ssize_t filled_up(Py_ssize_t numbers) { return (numbers + LANES - 1) / LANES * LANES; }

INLINE double sum_of(lanes value) {
    double at[LANES];
    store_all(at, value);
    return (at[0] + at[1]) + (at[2] + at[3]);
}

/* One logarithm for all, where their product is an ordinary number. */
INLINE double sum_of_logs(lanes value) {
    double at[LANES], product = 1.0, logs = 0.0;
    int ordinary = 1;
    store_all(at, value);
    for (int l = 0; l < LANES; l++) product *= at[l], ordinary &= at[l] > 1e-70 && at[l] < 1e70;
    if (ordinary) return log(product);
    for (int l = 0; l < LANES; l++) logs += log(at[l]);
    return logs;
}

INLINE double dot(const double *one, const double *other, Py_ssize_t width) {
    lanes sum = all(0.0);
    for (Py_ssize_t k = 0; k < width; k += LANES) sum = sum + together(one + k) * together(other + k);
    return sum_of(sum);
}

/* A multiple of a row added to another, from the place `from` on, a multiple of LANES. */
INLINE void add_row(double *restrict to, double by, const double *restrict row, Py_ssize_t from, Py_ssize_t width) {
    for (Py_ssize_t k = from; k < width; k += LANES) store_all(to + k, together(to + k) + all(by) * together(row + k));
}

/* Eliminate the first p variables of a symmetric matrix of p + 1, of which the upper triangle is there, as `eliminate`
   of simtrial/kernels/small_matrices.py; log of the determinant of the leading block, and what is left of the last. */
INLINE double eliminate_rows(double *restrict m, int p, Py_ssize_t width, double *left) {
    double log_determinant = 0.0;
    for (int k = 0; k < p; k++) {
        double pivot = m[k * width + k];
        log_determinant += log(pivot);
        for (int i = k + 1; i <= p; i++)
            add_row(m + i * width, -m[k * width + i] / pivot, m + k * width, i / LANES * LANES, width);
    }
    *left = m[p * width + p];
    return log_determinant;
}

/* Sweep the first p variables of a symmetric matrix of p + 1, as `sweep` there; log of the determinant. */
INLINE double sweep_rows(double *restrict m, double *restrict row, double *restrict column, int p, Py_ssize_t width) {
    double log_determinant = 0.0;
    for (int k = 0; k < p; k++) {
        double pivot = m[k * width + k];
        log_determinant += log(pivot);
        for (Py_ssize_t j = 0; j < width; j++) row[j] = m[k * width + j] / pivot;
        for (int i = 0; i <= p; i++) column[i] = i == k ? 0.0 : m[i * width + k];
        for (int i = 0; i <= p; i++) {
            if (i == k) continue;
            add_row(m + i * width, -column[i], row, 0, width);
            m[i * width + k] = -column[i] / pivot;
        }
        for (Py_ssize_t j = 0; j < width; j++) m[k * width + j] = row[j];
        m[k * width + k] = 1.0 / pivot;
    }
    return log_determinant;
}

#endif
