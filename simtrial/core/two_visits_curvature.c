/* Twin of `expected_curvature` in simtrial/kernels/two_visits_criterion.py. */
#include "kernels.h"
#include "two_visits_criterion.h"

#define DIRECTIONS 3 /* in which a symmetric matrix moves: its entries 00, 01, 11 */

/* Products of all entries of two matrices, those of the first in order 00, 01, 10, 11, then those of the second. */
typedef lanes products_of_four[16];

INLINE void add_products(products_of_four to, four a, four b) {
    const lanes one[] = {a.m00, a.m01, a.m10, a.m11}, other[] = {b.m00, b.m01, b.m10, b.m11};
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) to[4 * i + j] = to[4 * i + j] + one[i] * other[j];
}

/* tr(D_x L D_y R) over directions x and y, from the products of L and R; added to a block of the curvature. */
INLINE void add_form(double *block, const double *products) {
    static const int entries[DIRECTIONS][2] = {{0, 0}, {1, 2}, {3, 3}}; /* (a, b) as 2 a + b; those of D_1 are two */
    for (int x = 0; x < DIRECTIONS; x++)
        for (int y = 0; y < DIRECTIONS; y++)
            for (int i = 0; i < (x == 1 ? 2 : 1); i++)
                for (int j = 0; j < (y == 1 ? 2 : 1); j++) {
                    int a = entries[x][i] / 2, b = entries[x][i] % 2, c = entries[y][j] / 2, d = entries[y][j] % 2;
                    block[6 * x + y] += products[4 * (2 * b + c) + 2 * d + a];
                }
}

INLINE void add_form_of(double *block, products_of_four products) {
    double sums[16];
    for (int i = 0; i < 16; i++) sums[i] = sum_of(products[i]);
    add_form(block, sums);
}

/* Residual variances alone: what people of a pattern add, W_m with n W_m - 2 W_m (sum n K) W_m. */
INLINE void add_own(double *block, const symmetric *w, const four *weighted_k, const double *total) {
    double sums[16] = {0};
    for (int m = 0; m < 3; m++) {
        symmetric taken = between(w[m], summed(weighted_k[m]));
        double left = total[m] * w[m].m01 - 2.0 * taken.m01, one[] = {w[m].m00, w[m].m01, w[m].m01, w[m].m11};
        double other[] = {total[m] * w[m].m00 - 2.0 * taken.m00, left, left, total[m] * w[m].m11 - 2.0 * taken.m11};
        for (int i = 0; i < 16; i++) sums[i] += one[i / 4] * other[i % 4];
    }
    add_form(block, sums);
}

/* tr(K M_x K M_y) of LANES practices, M_x the sum of n W D_x W over patterns. */
INLINE void add_moved(lanes (*sums)[DIRECTIONS], symmetric (*turned)[DIRECTIONS], const lanes *count, four k) {
    four moved[DIRECTIONS];
    for (int x = 0; x < DIRECTIONS; x++) {
        four sum = {all(0.0), all(0.0), all(0.0), all(0.0)};
        for (int m = 0; m < 3; m++) add(&sum, scaled(everywhere(turned[m][x]), count[m]));
        moved[x] = times(k, sum);
    }
    for (int x = 0; x < DIRECTIONS; x++)
        for (int y = 0; y < DIRECTIONS; y++) {
            lanes first = moved[x].m00 * moved[y].m00 + moved[x].m01 * moved[y].m10;
            lanes second = moved[x].m10 * moved[y].m01 + moved[x].m11 * moved[y].m11;
            sums[x][y] += (first + second);
        }
}

VECTORISED
void curvature_of_visits(const visits *one, symmetric e, double *curvature) {
    static const symmetric directions[] = {{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}};
    Py_ssize_t n = one->practices;
    symmetric w[3], turned[3][DIRECTIONS];
    products_of_four by_practice, mixed;
    four weighted_k[3];
    lanes moved[DIRECTIONS][DIRECTIONS], count[3];
    precisions(e, w);
    memset(by_practice, 0, sizeof by_practice), memset(mixed, 0, sizeof mixed);
    memset(weighted_k, 0, sizeof weighted_k), memset(moved, 0, sizeof moved);
    for (int i = 0; i < 36; i++) curvature[i] = 0.0;
    for (int m = 0; m < 3; m++)
        for (int x = 0; x < DIRECTIONS; x++) turned[m][x] = between(w[m], directions[x]);
    for (Py_ssize_t j = 0; j < n; j += LANES) {
        four s = from_three(one->s, n, j), k = from_three(one->k, n, j);
        four share = less(identity(), times(s, k)), t = times(share, s);
        add_products(by_practice, t, t);
        for (int m = 0; m < 3; m++) {
            count[m] = together(one->counts + m * n + j);
            four u = times(share, everywhere(w[m]));
            add_products(mixed, u, transposed(scaled(u, count[m])));
            add(&weighted_k[m], scaled(k, count[m]));
        }
        add_moved(moved, turned, count, k);
    }
    add_form_of(curvature + 3 * 6 + 3, by_practice);
    add_form_of(curvature + 3 * 6, mixed);
    add_own(curvature, w, weighted_k, one->total);
    for (int x = 0; x < DIRECTIONS; x++)
        for (int y = 0; y < DIRECTIONS; y++) {
            curvature[6 * x + y] += sum_of(moved[x][y]);
            curvature[6 * x + 3 + y] = curvature[6 * (3 + y) + x];
        }
}
