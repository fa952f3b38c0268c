/* Twin of simtrial/kernels/small_matrices.py: small symmetric matrices of the trials of a tile. */
#ifndef SIMTRIAL_SMALL_MATRICES_H
#define SIMTRIAL_SMALL_MATRICES_H

#include "lanes.h"

#include <math.h>

/* Full symmetric matrices from packed upper triangles, by columns. */
INLINE void unpack(lanes *restrict matrix, const lanes *restrict packed, int q) {
    for (int j = 0, k = 0; j < q; j++)
        for (int i = 0; i <= j; i++, k++) matrix[i * q + j] = matrix[j * q + i] = packed[k];
}

/* Gauss-Jordan sweeps of the first p of q variables; their pivots are kept. Dividing by a pivot, as numpy does, takes
   longer than multiplying with its inverse, and rounds otherwise. */
typedef enum { MULTIPLYING, DIVIDING } way;
INLINE void sweep(lanes *restrict m, lanes *restrict row, lanes *restrict column, int p, int q, lanes *restrict pivots,
                  way by) {
    for (int k = 0; k < p; k++) {
        lanes pivot = pivots[k] = m[k * q + k];
        lanes over = 1.0 / pivot;
        for (int j = 0; j < q; j++) row[j] = by == DIVIDING ? m[k * q + j] / pivot : m[k * q + j] * over;
        for (int i = 0; i < q; i++) column[i] = m[i * q + k];
        for (int i = 0; i < q; i++) {
            if (i == k) continue;
            for (int j = 0; j < q; j++) m[i * q + j] -= column[i] * row[j];
            m[i * q + k] = by == DIVIDING ? -column[i] / pivot : -column[i] * over;
        }
        for (int j = 0; j < q; j++) m[k * q + j] = row[j];
        m[k * q + k] = over;
    }
}


/* Place of an entry in a packed upper triangle. */
INLINE int place(int i, int j) { return i < j ? j * (j + 1) / 2 + i : i * (i + 1) / 2 + j; }

/* A vector by a packed symmetric matrix. */
INLINE void apply(lanes *restrict out, const lanes *restrict packed, const lanes *restrict v, int q) {
    for (int i = 0; i < q; i++) {
        lanes sum = {0};
        for (int j = 0; j < q; j++) sum += packed[place(i, j)] * v[j];
        out[i] = sum;
    }
}

/* C^-1 C' of the X blocks. */
INLINE void multiply(lanes *restrict out, const lanes *restrict inverse, const lanes *restrict packed, int p, int q) {
    for (int i = 0; i < p; i++)
        for (int k = 0; k < p; k++) {
            lanes sum = {0};
            for (int j = 0; j < p; j++) sum += inverse[i * q + j] * packed[place(j, k)];
            out[i * p + k] = sum;
        }
}

/* v'Av of the X block of full matrices. */
INLINE lanes bilinear(const lanes *restrict matrix, const lanes *restrict v, int p, int q) {
    lanes total = {0};
    for (int i = 0; i < p; i++) {
        lanes sum = {0};
        for (int j = 0; j < p; j++) sum += matrix[i * q + j] * v[j];
        total += v[i] * sum;
    }
    return total;
}

/* tr C^-1 C' and tr C^-1 C'' - tr (C^-1 C')^2. */
INLINE void traces(lanes *restrict one, lanes *restrict two, const lanes *restrict change, const lanes *restrict inverse,
                   const lanes *restrict second, int p, int q) {
    lanes trace = {0}, squared = {0}, with_second = {0};
    for (int i = 0; i < p; i++) {
        trace += change[i * p + i];
        for (int j = 0; j < p; j++) {
            squared += change[i * p + j] * change[j * p + i];
            with_second += inverse[i * q + j] * second[place(i, j)];
        }
    }
    *one = trace, *two = with_second - squared;
}

/* v'Mv of packed matrices, for all variables. */
INLINE lanes quadratic(const lanes *restrict packed, const lanes *restrict v, int q) {
    lanes total = {0};
    for (int j = 0, k = 0; j < q; j++)
        for (int i = 0; i <= j; i++, k++) total += (i < j ? 2.0 : 1.0) * packed[k] * v[i] * v[j];
    return total;
}

/* Eliminate the first p of q variables of symmetric matrices, of which the upper triangle is there; pivots stay. */
INLINE void eliminate(lanes *restrict m, int p) {
    int q = p + 1;
    for (int k = 0; k < p; k++) {
        lanes over = 1.0 / m[k * q + k];
        for (int i = k + 1; i < q; i++) {
            lanes ratio = m[k * q + i] * over;
            for (int j = i; j < q; j++) m[i * q + j] -= ratio * m[k * q + j];
        }
    }
}

/* Lower factors L of A = LL', of the first p of q rows and columns; (p, p), 0 above the diagonal. */
INLINE void cholesky(lanes *restrict lower, const lanes *restrict matrix, int p, int q) {
    for (int j = 0; j < p; j++) {
        lanes left = matrix[j * q + j];
        for (int k = 0; k < j; k++) left -= lower[j * p + k] * lower[j * p + k];
        lower[j * p + j] = square_root(left);
        for (int i = 0; i < j; i++) lower[i * p + j] = all(0.0);
        for (int i = j + 1; i < p; i++) {
            left = matrix[i * q + j];
            for (int k = 0; k < j; k++) left -= lower[i * p + k] * lower[j * p + k];
            lower[i * p + j] = left / lower[j * p + j];
        }
    }
}

#endif
