/* Twin of simtrial/kernels/two_visits_criterion.py, whose head has the formulas. */
#include "two_visits_criterion.h"

/* S and K of every practice; sum of log |I + B S B|. */
INLINE double inner(visits *one, const symmetric *w, symmetric root) {
    Py_ssize_t n = one->practices;
    const double *n0 = one->counts, *n1 = n0 + n, *n2 = n1 + n;
    double logs = 0.0, *s = one->s, *k = one->k, b00 = root.m00, b01 = root.m01, b11 = root.m11;
    for (Py_ssize_t from = 0; from < n; from += FOUR) {
        double determinants[FOUR], product = 1.0;
        int ordinary = 1;
        for (Py_ssize_t l = 0, j = from; l < FOUR; l++, j++) {
            double s00 = w[0].m00 * n0[j] + w[1].m00 * n1[j], s01 = w[0].m01 * n0[j];
            double s11 = w[0].m11 * n0[j] + w[2].m11 * n2[j];
            double h00 = b00 * s00 + b01 * s01, h01 = b00 * s01 + b01 * s11, h10 = b01 * s00 + b11 * s01,
                   h11 = b01 * s01 + b11 * s11;
            double m00 = 1.0 + (h00 * b00 + h01 * b01), m01 = h00 * b01 + h01 * b11, m10 = h10 * b00 + h11 * b01,
                   m11 = 1.0 + (h10 * b01 + h11 * b11), determinant = m00 * m11 - m01 * m10;
            double i00 = m11 / determinant, i01 = -m01 / determinant, i10 = -m10 / determinant, i11 = m00 / determinant;
            double g00 = b00 * i00 + b01 * i10, g01 = b00 * i01 + b01 * i11, g10 = b01 * i00 + b11 * i10,
                   g11 = b01 * i01 + b11 * i11;
            s[j] = s00, s[n + j] = s01, s[2 * n + j] = s11;
            k[j] = g00 * b00 + g01 * b01, k[n + j] = g00 * b01 + g01 * b11, k[2 * n + j] = g10 * b01 + g11 * b11;
            determinants[l] = determinant;
        }
        for (int l = 0; l < FOUR; l++) { /* one logarithm for all, where their product is an ordinary number */
            product *= determinants[l];
            ordinary &= determinants[l] > 1e-70 && determinants[l] < 1e70;
        }
        if (ordinary) logs += log(product);
        else for (int l = 0; l < FOUR; l++) logs += log(determinants[l]);
    }
    return logs;
}

/* c = Z'R^-1 [X y] of every practice, and [X y]'V^-1[X y] with 1 for dropped columns, the upper triangle. */
INLINE void weigh(visits *one, const symmetric *w) {
    Py_ssize_t n = one->practices, width = one->width, q = one->regressors + 1;
    const double weights[] = {w[0].m00, w[0].m01, w[0].m11, w[1].m00, w[2].m11}, *k = one->k;
    double *gram = one->gram, *less_by = one->psi;
    memset(less_by, 0, sizeof(double) * (size_t)(q * width));
    for (Py_ssize_t j = 0; j < one->positions; j++) {
        const double *x = one->sums + j * width;
        double *c0 = one->c + j * width, *c1 = c0 + n * width;
        for (Py_ssize_t i = 0; i < width; i += FOUR) {
            vector x0 = loaded(x + i), x1 = loaded(x + n * width + i), x2 = loaded(x + 2 * n * width + i),
                   x3 = loaded(x + 3 * n * width + i);
            stored(c0 + i, PLUS(PLUS(TIMES(all(weights[0]), x0), TIMES(all(weights[1]), x1)), TIMES(all(weights[3]), x2)));
            stored(c1 + i, PLUS(PLUS(TIMES(all(weights[1]), x0), TIMES(all(weights[2]), x1)), TIMES(all(weights[4]), x3)));
            vector one_c = loaded(c0 + i), other_c = loaded(c1 + i);
            stored(one->row + i, PLUS(TIMES(all(k[j]), one_c), TIMES(all(k[n + j]), other_c)));
            stored(one->column + i, PLUS(TIMES(all(k[n + j]), one_c), TIMES(all(k[2 * n + j]), other_c)));
        }
        for (Py_ssize_t i = 0; i < q; i++)
            for (Py_ssize_t r = i / FOUR * FOUR; r < width; r += FOUR) {
                vector sum = PLUS(loaded(less_by + i * width + r), TIMES(all(c0[i]), loaded(one->row + r)));
                stored(less_by + i * width + r, PLUS(sum, TIMES(all(c1[i]), loaded(one->column + r))));
            }
    }
    for (Py_ssize_t i = 0; i < q; i++) {
        double *to = gram + i * width;
        for (Py_ssize_t r = 0; r < width; r++) to[r] = 0.0;
        for (Py_ssize_t m = 0; m < 5; m++) add_row(to, weights[m], one->products + (m * q + i) * width, 0, width);
        add_row(to, -1.0, less_by + i * width, 0, width);
        if (i + 1 < q) to[i] += one->dropped[i];
    }
}

INLINE double log_residual(const visits *one, symmetric e) {
    return one->total[0] * log(determinant_of(e)) + one->total[1] * log(e.m00) + one->total[2] * log(e.m11);
}

VECTORISED
double value_of_visits(visits *one, symmetric e, symmetric root, int reml) {
    symmetric w[3];
    double rest;
    precisions(e, w);
    double logs = inner(one, w, root);
    weigh(one, w);
    double log_determinant = eliminate_rows(one->gram, one->regressors, one->width, &rest);
    return logs + rest + log_residual(one, e) + (reml ? log_determinant : 0.0);
}

/* psi of `_spread`: r'Mr + tr(X'M X (X'V^-1 X)^-1) from [X y]'M[X y], the second term for REML. */
INLINE void spread(visits *one, int reml) {
    Py_ssize_t width = one->width;
    int p = one->regressors, q = p + 1;
    double *direction = one->row;
    for (Py_ssize_t i = 0; i < width; i++) direction[i] = i < p ? -one->gram[i * width + p] : i == p;
    for (int i = 0; i < q; i++)
        for (Py_ssize_t j = 0; j < width; j++) {
            double phi = reml && i < p && j < p ? one->gram[i * width + j] : 0.0;
            one->psi[i * width + j] = direction[i] * direction[j] + phi;
        }
}

/* Residual products `lost` of every practice: sums of the four kinds by f = psi c. */
INLINE void lose(visits *one) {
    Py_ssize_t n = one->practices, width = one->width, q = one->regressors + 1;
    for (Py_ssize_t b = 0; b < 2; b++)
        for (Py_ssize_t j = 0; j < one->positions; j++) {
            const double *c = one->c + (b * n + j) * width;
            double *f = one->f + (b * n + j) * width;
            for (Py_ssize_t r = 0; r < width; r += FOUR) {
                vector sum = all(0.0);
                for (Py_ssize_t i = 0; i < q; i++) sum = PLUS(sum, TIMES(all(c[i]), loaded(one->psi + i * width + r)));
                stored(f + r, sum);
            }
            for (Py_ssize_t m = 0; m < 4; m++)
                one->residual[(2 * m + b) * n + j] = dot(one->sums + (m * n + j) * width, f, width);
        }
}

/* Sums over practices that `slopes` takes: of by_u, of n K by pattern, and of what the residuals lose. */
typedef struct {
    four by_u, both, k[3];
    vector alone[2];
} slope_sums;

INLINE void add_slopes(const visits *one, const symmetric *w, Py_ssize_t j, slope_sums *sum) {
    Py_ssize_t n = one->practices;
    const double *lost = one->residual + j;
    four s = from_three(one->s, n, j), k = from_three(one->k, n, j), w0 = everywhere(w[0]);
    four of_both = {loaded(lost), loaded(lost + n), loaded(lost + 2 * n), loaded(lost + 3 * n)};
    vector first0 = loaded(lost + 4 * n), first1 = loaded(lost + 5 * n), second0 = loaded(lost + 6 * n),
           second1 = loaded(lost + 7 * n), two = all(2.0);
    four within = times(w0, of_both);
    within.m00 = PLUS(within.m00, TIMES(all(w[1].m00), first0)), within.m01 = PLUS(within.m01, TIMES(all(w[1].m00), first1));
    within.m10 = PLUS(within.m10, TIMES(all(w[2].m11), second0)), within.m11 = PLUS(within.m11, TIMES(all(w[2].m11), second1));
    four share = less(identity(), times(s, k));
    add(&sum->by_u, less(times(share, s), times(times(share, within), transposed(share))));
    four around = times(times(k, within), k), cross = times(of_both, k);
    vector count[3];
    for (Py_ssize_t m = 0; m < 3; m++) count[m] = loaded(one->counts + m * n + j), add(&sum->k[m], scaled(k, count[m]));
    add(&sum->both, less(less(scaled(around, count[0]), cross), transposed(cross)));
    vector from_first = TIMES(two, PLUS(TIMES(first0, k.m00), TIMES(first1, k.m01)));
    vector from_second = TIMES(two, PLUS(TIMES(second0, k.m01), TIMES(second1, k.m11)));
    sum->alone[0] = PLUS(sum->alone[0], LESS(TIMES(count[1], around.m00), from_first));
    sum->alone[1] = PLUS(sum->alone[1], LESS(TIMES(count[2], around.m11), from_second));
}

INLINE symmetric weighted_k(const slope_sums *sum, int m) { return summed(sum->k[m]); }

INLINE void slopes(visits *one, const symmetric *w, visit_evaluation *at) {
    Py_ssize_t n = one->practices, width = one->width, q = one->regressors + 1;
    slope_sums sum;
    double products[5] = {0};
    memset(&sum, 0, sizeof sum);
    for (Py_ssize_t j = 0; j < n; j += FOUR) add_slopes(one, w, j, &sum);
    for (Py_ssize_t m = 0; m < 5; m++)
        for (Py_ssize_t i = 0; i < q; i++)
            products[m] += dot(one->products + (m * q + i) * width, one->psi + i * width, width);
    symmetric k = weighted_k(&sum, 0), both = summed(sum.both);
    at->rest = (symmetric){products[0] + both.m00, 0.5 * products[1] + both.m01, products[2] + both.m11};
    symmetric moved = {k.m00 + at->rest.m00, k.m01 + at->rest.m01, k.m11 + at->rest.m11}, taken = between(w[0], moved);
    double first = products[3] + sum_of(sum.alone[0]), second = products[4] + sum_of(sum.alone[1]);
    at->by_e = (symmetric){one->total[0] * w[0].m00 - taken.m00, one->total[0] * w[0].m01 - taken.m01,
                           one->total[0] * w[0].m11 - taken.m11};
    at->by_e.m00 += one->total[1] * w[1].m00 - w[1].m00 * w[1].m00 * (weighted_k(&sum, 1).m00 + first);
    at->by_e.m11 += one->total[2] * w[2].m11 - w[2].m11 * w[2].m11 * (weighted_k(&sum, 2).m11 + second);
    at->by_u = summed(sum.by_u);
}

VECTORISED
void evaluate_visits(visits *one, symmetric e, symmetric root, int reml, visit_evaluation *at) {
    Py_ssize_t width = one->width;
    symmetric w[3];
    int p = one->regressors;
    precisions(e, w);
    double logs = inner(one, w, root);
    weigh(one, w);
    for (int i = 0; i <= p; i++)
        for (int j = 0; j < i; j++) one->gram[i * width + j] = one->gram[j * width + i];
    at->log_determinant = sweep_rows(one->gram, one->row, one->column, p, width);
    at->value = logs + one->gram[p * width + p] + log_residual(one, e) + (reml ? at->log_determinant : 0.0);
    spread(one, reml);
    lose(one);
    slopes(one, w, at);
}
