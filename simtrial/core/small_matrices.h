/* Small matrices of lanes, as simtrial/kernels/small_matrices.py has them. */
#ifndef SIMTRIAL_SMALL_MATRICES_H
#define SIMTRIAL_SMALL_MATRICES_H

#include "lanes.h"

#include <math.h>

/* Full symmetric matrices from packed upper triangles, by columns. */
INLINE void unpack(lanes *restrict matrix, lanes *restrict packed, int q) {
    for (int j = 0, k = 0; j < q; j++)
        for (int i = 0; i <= j; i++, k++) EACH(l) matrix[i * q + j][l] = matrix[j * q + i][l] = packed[k][l];
}

/* Gauss-Jordan sweeps of the first p of q variables; the sum of the pivots' logarithms. */
INLINE void sweep(lanes *restrict m, lanes *restrict row, lanes *restrict column, int p, double *restrict logs) {
    int q = p + 1;
    EACH(l) logs[l] = 0.0;
    for (int k = 0; k < p; k++) {
        lanes pivot;
        EACH(l) pivot[l] = m[k * q + k][l];
        EACH(l) logs[l] += log(pivot[l]);
        for (int j = 0; j < q; j++) EACH(l) row[j][l] = m[k * q + j][l] / pivot[l];
        for (int i = 0; i < q; i++) EACH(l) column[i][l] = m[i * q + k][l];
        for (int i = 0; i < q; i++) {
            if (i == k) continue;
            for (int j = 0; j < q; j++) EACH(l) m[i * q + j][l] -= column[i][l] * row[j][l];
            EACH(l) m[i * q + k][l] = -column[i][l] / pivot[l];
        }
        for (int j = 0; j < q; j++) EACH(l) m[k * q + j][l] = row[j][l];
        EACH(l) m[k * q + k][l] = 1.0 / pivot[l];
    }
}

/* Lower factors L of A = LL', of the first p of q rows and columns; (p, p), 0 above the diagonal. */
INLINE void cholesky(lanes *restrict lower, lanes *restrict matrix, int p, int q) {
    for (int j = 0; j < p; j++) {
        lanes left;
        EACH(l) left[l] = matrix[j * q + j][l];
        for (int k = 0; k < j; k++) EACH(l) left[l] -= lower[j * p + k][l] * lower[j * p + k][l];
        EACH(l) lower[j * p + j][l] = sqrt(left[l]);
        for (int i = 0; i < j; i++) EACH(l) lower[i * p + j][l] = 0.0;
        for (int i = j + 1; i < p; i++) {
            EACH(l) left[l] = matrix[i * q + j][l];
            for (int k = 0; k < j; k++) EACH(l) left[l] -= lower[i * p + k][l] * lower[j * p + k][l];
            EACH(l) lower[i * p + j][l] = left[l] / lower[j * p + j][l];
        }
    }
}

#endif
