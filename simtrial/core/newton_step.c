/* Part of the twins of simtrial/kernels/two_visits_fit.py and by_arm_fit.py. */
#include "newton_step.h"

#include <math.h>
#include <string.h>

#define TURNS 30 /* of Jacobi's rotations through all pairs; some six are enough */

/* Inverse of a positive definite matrix by Cholesky factors; 0 where it is none. */
static int inverted(const double *a, int n, double *inverse) {
    double lower[MOST_MOVED][MOST_MOVED] = {{0}}, back[MOST_MOVED][MOST_MOVED] = {{0}};
    for (int j = 0; j < n; j++) {
        double left = a[j * n + j];
        for (int k = 0; k < j; k++) left -= lower[j][k] * lower[j][k];
        if (!(left > 0.0 && left < INFINITY)) return 0;
        lower[j][j] = sqrt(left);
        for (int i = j + 1; i < n; i++) {
            double sum = a[i * n + j];
            for (int k = 0; k < j; k++) sum -= lower[i][k] * lower[j][k];
            lower[i][j] = sum / lower[j][j];
        }
    }
    for (int j = 0; j < n; j++) /* L^-1, column by column */
        for (int i = j; i < n; i++) {
            double sum = i == j;
            for (int k = j; k < i; k++) sum -= lower[i][k] * back[k][j];
            back[i][j] = sum / lower[i][i];
        }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0.0;
            for (int k = i > j ? i : j; k < n; k++) sum += back[k][i] * back[k][j];
            inverse[i * n + j] = sum;
        }
    return 1;
}

static double length(const double *a, int numbers) {
    double sum = 0.0;
    for (int k = 0; k < numbers; k++) sum += a[k] * a[k];
    return sqrt(sum);
}

/* Turn rows and columns i and j of a symmetric matrix so that the entry (i, j) is 0, and the vectors with them. */
static void rotate(double *a, double *vectors, int n, int i, int j) {
    double theta = (a[j * n + j] - a[i * n + i]) / (2.0 * a[i * n + j]);
    double t = (theta < 0.0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));
    double c = 1.0 / sqrt(t * t + 1.0), s = t * c;
    for (int k = 0; k < n; k++) {
        double one = a[k * n + i], other = a[k * n + j];
        a[k * n + i] = c * one - s * other, a[k * n + j] = s * one + c * other;
        one = vectors[k * n + i], other = vectors[k * n + j];
        vectors[k * n + i] = c * one - s * other, vectors[k * n + j] = s * one + c * other;
    }
    for (int k = 0; k < n; k++) {
        double one = a[i * n + k], other = a[j * n + k];
        a[i * n + k] = c * one - s * other, a[j * n + k] = s * one + c * other;
    }
}

/* Eigenvalues on the diagonal of a, vectors in columns (Jacobi). */
static void diagonalise(double *a, double *vectors, int n) {
    memset(vectors, 0, sizeof(double) * (size_t)(n * n));
    for (int i = 0; i < n; i++) vectors[i * n + i] = 1.0;
    for (int turn = 0, moved = 1; turn < TURNS && moved; turn++) {
        moved = 0;
        for (int i = 0; i < n; i++)
            for (int j = i + 1; j < n; j++) {
                double least = 1e-17 * sqrt(fabs(a[i * n + i])) * sqrt(fabs(a[j * n + j]));
                if (!(fabs(a[i * n + j]) > least)) continue;
                rotate(a, vectors, n, i, j);
                moved = 1;
            }
    }
}

double newton_step(const double *a, const double *slope, int n, double flat, double *step, double *promised) {
    double inverse[MOST_MOVED * MOST_MOVED], work[MOST_MOVED * MOST_MOVED], vectors[MOST_MOVED * MOST_MOVED], most = 0.0;
    double share = 0.0;
    *promised = 0.0;
    if (inverted(a, n, inverse)) share = 1.0 / (length(a, n * n) * length(inverse, n * n));
    if (share > flat) {
        for (int i = 0; i < n; i++) {
            double sum = 0.0;
            for (int j = 0; j < n; j++) sum += inverse[i * n + j] * slope[j];
            step[i] = -sum;
            *promised += slope[i] * sum;
        }
        return share;
    }
    memcpy(work, a, sizeof(double) * (size_t)(n * n));
    diagonalise(work, vectors, n);
    for (int k = 0; k < n; k++) most = fabs(work[k * n + k]) > most ? fabs(work[k * n + k]) : most;
    for (int i = 0; i < n; i++) step[i] = 0.0;
    for (int k = 0; k < n; k++) {
        double along = 0.0, size = fabs(work[k * n + k]);
        size = size > flat * most ? size : flat * most;
        for (int i = 0; i < n; i++) along += vectors[i * n + k] * slope[i];
        for (int i = 0; i < n; i++) step[i] -= vectors[i * n + k] * along / size;
        *promised += along * along / size;
    }
    return 0.0;
}
