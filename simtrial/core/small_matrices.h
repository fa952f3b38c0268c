/* Twin of simtrial/kernels/small_matrices.py: small symmetric matrices of the trials of a tile. */
#ifndef SIMTRIAL_SMALL_MATRICES_H
#define SIMTRIAL_SMALL_MATRICES_H

#include "lanes.h"

#include <math.h>

/* Full symmetric matrices from packed upper triangles, by columns. */
INLINE void unpack(lanes *restrict matrix, lanes *restrict packed, int q) {
    for (int j = 0, k = 0; j < q; j++)
        for (int i = 0; i <= j; i++, k++) EACH(l) matrix[i * q + j][l] = matrix[j * q + i][l] = packed[k][l];
}

/* Gauss-Jordan sweeps of the first p of q variables; their pivots are kept. */
INLINE void sweep(lanes *restrict m, lanes *restrict row, lanes *restrict column, int p, lanes *restrict pivots) {
    int q = p + 1;
    for (int k = 0; k < p; k++) {
        lanes pivot;
        EACH(l) pivot[l] = m[k * q + k][l];
        EACH(l) pivots[k][l] = pivot[l];
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

/* The sum over slots of `between` by weights, for one place in the packed matrices. */
INLINE void add_slots(double *restrict out, const lanes *restrict between, const lanes *restrict weight, Py_ssize_t slots) {
    lanes sum = {0};
    for (Py_ssize_t s = 0; s < slots; s++) EACH(l) sum[l] += weight[s][l] * between[s][l];
    EACH(l) out[l] = sum[l];
}

/* Place of an entry in a packed upper triangle. */
INLINE int place(int i, int j) { return i < j ? j * (j + 1) / 2 + i : i * (i + 1) / 2 + j; }

/* A vector by a packed symmetric matrix. */
INLINE void apply(lanes *restrict out, const lanes *restrict packed, const lanes *restrict v, int q) {
    for (int i = 0; i < q; i++) {
        lanes sum = {0};
        for (int j = 0; j < q; j++) EACH(l) sum[l] += packed[place(i, j)][l] * v[j][l];
        EACH(l) out[i][l] = sum[l];
    }
}

/* C^-1 C' of the X blocks. */
INLINE void multiply(lanes *restrict out, const lanes *restrict inverse, const lanes *restrict packed, int p, int q) {
    for (int i = 0; i < p; i++)
        for (int k = 0; k < p; k++) {
            lanes sum = {0};
            for (int j = 0; j < p; j++) EACH(l) sum[l] += inverse[i * q + j][l] * packed[place(j, k)][l];
            EACH(l) out[i * p + k][l] = sum[l];
        }
}

/* v'Av of the X block of full matrices. */
INLINE void bilinear(double *restrict out, const lanes *restrict matrix, const lanes *restrict v, int p, int q) {
    lanes total = {0};
    for (int i = 0; i < p; i++) {
        lanes sum = {0};
        for (int j = 0; j < p; j++) EACH(l) sum[l] += matrix[i * q + j][l] * v[j][l];
        EACH(l) total[l] += v[i][l] * sum[l];
    }
    EACH(l) out[l] = total[l];
}

/* tr C^-1 C' and tr C^-1 C'' - tr (C^-1 C')^2. */
INLINE void traces(double *restrict one, double *restrict two, const lanes *restrict change, const lanes *restrict inverse,
                   const lanes *restrict second, int p, int q) {
    lanes trace = {0}, squared = {0}, with_second = {0};
    for (int i = 0; i < p; i++) {
        EACH(l) trace[l] += change[i * p + i][l];
        for (int j = 0; j < p; j++) {
            EACH(l) squared[l] += change[i * p + j][l] * change[j * p + i][l];
            EACH(l) with_second[l] += inverse[i * q + j][l] * second[place(i, j)][l];
        }
    }
    EACH(l) one[l] = trace[l], two[l] = with_second[l] - squared[l];
}

/* v'Mv of packed matrices, for all variables. */
INLINE void quadratic(lanes *restrict packed, lanes *restrict v, int q, double *restrict out) {
    lanes total = {0};
    for (int j = 0, k = 0; j < q; j++)
        for (int i = 0; i <= j; i++, k++) {
            double twice = i < j ? 2.0 : 1.0;
            EACH(l) total[l] += twice * packed[k][l] * v[i][l] * v[j][l];
        }
    EACH(l) out[l] = total[l];
}

/* Eliminate the first p of q variables of symmetric matrices, of which the upper triangle is there; pivots stay. */
INLINE void eliminate(lanes *restrict m, int p) {
    int q = p + 1;
    for (int k = 0; k < p; k++)
        for (int i = k + 1; i < q; i++) {
            lanes ratio;
            EACH(l) ratio[l] = m[k * q + i][l] / m[k * q + k][l];
            for (int j = i; j < q; j++) {
                lanes less;
                EACH(l) less[l] = ratio[l] * m[k * q + j][l];
                EACH(l) m[i * q + j][l] -= less[l];
            }
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
