/* Twin of simtrial/kernels/two_visits_criterion.py, whose head has the formulas. */
#include "two_visits_criterion.h"

INLINE void put_three(double *three, Py_ssize_t practices, Py_ssize_t j, four a) {
    store_all(three + j, a.m00), store_all(three + practices + j, a.m01), store_all(three + 2 * practices + j, a.m11);
}

/* S and K of every practice; sum of log |I + B S B|. */
INLINE double inner(visits *one, const symmetric *w, symmetric root) {
    Py_ssize_t n = one->practices;
    four b = everywhere(root);
    double logs = 0.0;
    for (Py_ssize_t j = 0; j < n; j += LANES) {
        lanes n0 = together(one->counts + j), n1 = together(one->counts + n + j), n2 = together(one->counts + 2 * n + j);
        four s = scaled(everywhere(w[0]), n0);
        s.m00 += all(w[1].m00) * n1, s.m11 = s.m11 + all(w[2].m11) * n2;
        four m = times(times(b, s), b);
        m.m00 = all(1.0) + m.m00, m.m11 = all(1.0) + m.m11;
        lanes determinant = m.m00 * m.m11 - m.m01 * m.m10;
        four inside = {m.m11 / determinant, ((all(0.0) - m.m01) / determinant),
                       ((all(0.0) - m.m10) / determinant), m.m00 / determinant};
        put_three(one->s, n, j, s), put_three(one->k, n, j, times(times(b, inside), b));
        logs += sum_of_logs(determinant);
    }
    return logs;
}

/* c = Z'R^-1 [X y] of every practice, and Kc in `f`. */
INLINE void weigh_sums(visits *one, const double *weights) {
    Py_ssize_t n = one->practices, width = one->width;
    lanes w0 = all(weights[0]), w1 = all(weights[1]), w2 = all(weights[2]), w3 = all(weights[3]), w4 = all(weights[4]);
    for (Py_ssize_t j = 0; j < one->positions; j++) {
        const double *x = one->sums + j * width;
        double *restrict c = one->c + j * width, *restrict f = one->f + j * width;
        lanes k00 = all(one->k[j]), k01 = all(one->k[n + j]), k11 = all(one->k[2 * n + j]);
        for (Py_ssize_t i = 0; i < width; i += LANES) {
            lanes x0 = together(x + i), x1 = together(x + n * width + i), x2 = together(x + 2 * n * width + i),
                   x3 = together(x + 3 * n * width + i);
            lanes c0 = w0 * x0 + w1 * x1 + w3 * x2;
            lanes c1 = w1 * x0 + w2 * x1 + w4 * x3;
            store_all(c + i, c0), store_all(c + n * width + i, c1);
            store_all(f + i, k00 * c0 + k01 * c1);
            store_all(f + n * width + i, k01 * c0 + k11 * c1);
        }
    }
}

/* [X y]'V^-1[X y] with 1 for dropped columns, in blocks of LANES by LANES from the diagonal to the right. */
INLINE void weigh(visits *one, const symmetric *w) {
    Py_ssize_t n = one->practices, width = one->width, q = one->regressors + 1;
    const double weights[] = {w[0].m00, w[0].m01, w[0].m11, w[1].m00, w[2].m11};
    weigh_sums(one, weights);
    for (Py_ssize_t i = 0; i < width; i += LANES)
        for (Py_ssize_t r = i; r < width; r += LANES) {
            lanes sum[LANES] = {all(0.0), all(0.0), all(0.0), all(0.0)};
            for (Py_ssize_t j = 0; j < 2 * n; j++) {
                const double *c = one->c + j * width + i;
                lanes f = together(one->f + j * width + r);
                for (int l = 0; l < LANES; l++) sum[l] = sum[l] + all(c[l]) * f;
            }
            for (int l = 0; l < LANES && i + l < q; l++) {
                lanes whole = all(0.0);
                for (Py_ssize_t m = 0; m < 5; m++)
                    whole += (all(weights[m]) * together(one->products + (m * q + i + l) * width + r));
                store_all(one->gram + (i + l) * width + r, whole - sum[l]);
            }
        }
    for (Py_ssize_t i = 0; i + 1 < q; i++) one->gram[i * width + i] += one->dropped[i];
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

/* Residual products `lost` of every practice: sums of the four kinds by f = psi c, whose rows are taken by LANES. */
INLINE void lose(visits *one) {
    Py_ssize_t n = one->practices, width = one->width, q = one->regressors + 1;
    for (Py_ssize_t j = 0; j < 2 * n; j += LANES)
        for (Py_ssize_t r = 0; r < width; r += LANES) {
            const double *c = one->c + j * width;
            lanes sum[LANES] = {all(0.0), all(0.0), all(0.0), all(0.0)};
            for (Py_ssize_t i = 0; i < q; i++) {
                lanes psi = together(one->psi + i * width + r);
                for (int l = 0; l < LANES; l++) sum[l] = sum[l] + all(c[l * width + i]) * psi;
            }
            for (int l = 0; l < LANES; l++) store_all(one->f + (j + l) * width + r, sum[l]);
        }
    for (Py_ssize_t j = 0; j < one->positions; j++)
        for (Py_ssize_t m = 0; m < 4; m++)
            for (Py_ssize_t b = 0; b < 2; b++)
                one->residual[(2 * m + b) * n + j] =
                    dot(one->sums + (m * n + j) * width, one->f + (b * n + j) * width, width);
}

/* Sums over practices that `slopes` takes: of by_u, of n K by pattern, and of what the residuals lose. */
typedef struct {
    four by_u, both, k[3];
    lanes alone[2];
} slope_sums;

INLINE void add_slopes(const visits *one, const symmetric *w, Py_ssize_t j, slope_sums *sum) {
    Py_ssize_t n = one->practices;
    const double *lost = one->residual + j;
    four s = from_three(one->s, n, j), k = from_three(one->k, n, j), w0 = everywhere(w[0]);
    four of_both = {together(lost), together(lost + n), together(lost + 2 * n), together(lost + 3 * n)};
    lanes first0 = together(lost + 4 * n), first1 = together(lost + 5 * n), second0 = together(lost + 6 * n),
           second1 = together(lost + 7 * n), two = all(2.0);
    four within = times(w0, of_both);
    within.m00 += all(w[1].m00) * first0, within.m01 = within.m01 + all(w[1].m00) * first1;
    within.m10 += all(w[2].m11) * second0, within.m11 = within.m11 + all(w[2].m11) * second1;
    four share = less(identity(), times(s, k));
    add(&sum->by_u, less(times(share, s), times(times(share, within), transposed(share))));
    four around = times(times(k, within), k), cross = times(of_both, k);
    lanes count[3];
    for (Py_ssize_t m = 0; m < 3; m++) count[m] = together(one->counts + m * n + j), add(&sum->k[m], scaled(k, count[m]));
    add(&sum->both, less(less(scaled(around, count[0]), cross), transposed(cross)));
    lanes from_first = two * (first0 * k.m00 + first1 * k.m01);
    lanes from_second = two * (second0 * k.m01 + second1 * k.m11);
    sum->alone[0] += (count[1] * around.m00 - from_first);
    sum->alone[1] += (count[2] * around.m11 - from_second);
}

INLINE symmetric weighted_k(const slope_sums *sum, int m) { return summed(sum->k[m]); }

INLINE void slopes(visits *one, const symmetric *w, visit_evaluation *at) {
    Py_ssize_t n = one->practices, width = one->width, q = one->regressors + 1;
    slope_sums sum;
    double products[5] = {0};
    memset(&sum, 0, sizeof sum);
    for (Py_ssize_t j = 0; j < n; j += LANES) add_slopes(one, w, j, &sum);
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
