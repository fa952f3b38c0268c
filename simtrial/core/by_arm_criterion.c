/* Twin of simtrial/kernels/by_arm_criterion.py, whose head has the formulas. */
#include "by_arm_criterion.h"

#include "kernels.h"

#include <stdlib.h>

int take_arm_sums(arm_sums *sums, array *a, PyObject *const *given) {
    static const int dimensions[] = {3, 3, 4, 3, 2};
    for (int k = 0; k < ARM_SUMS_END; k++) {
        a[k].dimensions = dimensions[k], a[k].shape[0] = 2;
        for (int i = 1; i < MOST_DIMENSIONS; i++) a[k].shape[i] = -1;
    }
    if (!take_array(&a[ARM_SIZES], given[ARM_SIZES])) return 0;
    Py_ssize_t trials = a[ARM_SIZES].shape[1], slots = a[ARM_SIZES].shape[2], q = 2;
    a[ARM_COUNTS].shape[1] = a[ARM_BETWEEN].shape[1] = a[ARM_WITHIN].shape[1] = a[ARM_DROPPED].shape[1] = trials;
    a[ARM_COUNTS].shape[2] = a[ARM_BETWEEN].shape[3] = slots;
    if (!take_arrays(a + ARM_COUNTS, 2, given + ARM_COUNTS)) return 0;
    while (q * (q + 1) / 2 < a[ARM_BETWEEN].shape[2] && q < 1000) q++;
    if (q * (q + 1) / 2 != a[ARM_BETWEEN].shape[2]) {
        PyErr_SetString(PyExc_ValueError, "between: packed matrices of a regressor or more and the response are wanted");
        return 0;
    }
    a[ARM_WITHIN].shape[2] = a[ARM_BETWEEN].shape[2], a[ARM_DROPPED].shape[0] = q - 1;
    if (!take_arrays(a + ARM_WITHIN, 2, given + ARM_WITHIN)) return 0;
    *sums = (arm_sums){.trials = trials, .slots = slots, .packed = a[ARM_BETWEEN].shape[2], .regressors = (int)q - 1,
                       .sizes = a[ARM_SIZES].at, .counts = a[ARM_COUNTS].at, .between = a[ARM_BETWEEN].at,
                       .within = a[ARM_WITHIN].at, .dropped = a[ARM_DROPPED].at};
    return 1;
}

int make_arms(arms *one, const arm_sums *sums) {
    Py_ssize_t q = sums->regressors + 1, width = filled_up(q), slots = sums->slots, wide = filled_up(sums->packed);
    *one = (arms){.slots = slots, .packed = sums->packed, .wide = wide, .width = width, .regressors = sums->regressors};
    one->room = room_for((2 * slots + 9) * (wide + 2) + 5 * q * width + 4 * q * q + 6 * q + 2 * width, 1);
    if (one->room == NULL) return 0;
    double *at = one->room;
    one->sizes = at, at += 2 * slots;
    one->counts = at, at += 2 * slots;
    one->between = at, at += 2 * slots * wide;
    one->within = at, at += 2 * wide;
    one->dropped = at, at += q;
    one->total = at, at += wide;
    one->first = at, at += 4 * wide;
    one->weights = at, at += 2 * wide;
    one->gram = at, at += q * width;
    one->slopes = at, at += 4 * q * width;
    one->change = at, at += 4 * q * q;
    one->v = at, at += q;
    one->steps = at, at += 4 * q;
    one->row = at, at += width;
    one->column = at;
    return 1;
}

void free_arms(arms *one) { free(one->room); }

void load_arms(arms *one, const arm_sums *sums, Py_ssize_t trial) {
    Py_ssize_t slots = one->slots, packed = one->packed, trials = sums->trials;
    for (Py_ssize_t arm = 0; arm < 2; arm++) {
        Py_ssize_t at = arm * trials + trial;
        one->people[arm] = one->clusters[arm] = 0.0;
        for (Py_ssize_t s = 0; s < slots; s++) {
            double size = AT(sums->sizes, at * slots + s), count = AT(sums->counts, at * slots + s);
            one->sizes[arm * slots + s] = size, one->counts[arm * slots + s] = count;
            one->people[arm] += count * size, one->clusters[arm] += count;
            for (Py_ssize_t k = 0; k < packed; k++)
                one->between[(arm * slots + s) * one->wide + k] = AT(sums->between, (at * packed + k) * slots + s);
        }
        for (Py_ssize_t k = 0; k < packed; k++) one->within[arm * one->wide + k] = AT(sums->within, at * packed + k);
    }
    for (Py_ssize_t i = 0; i < one->regressors; i++) one->dropped[i] = AT(sums->dropped, i * trials + trial);
}

/* Full matrices (q, width) from packed ones. */
INLINE void unpack_rows(double *restrict to, const double *restrict packed, Py_ssize_t q, Py_ssize_t width) {
    for (Py_ssize_t j = 0, k = 0; j < q; j++)
        for (Py_ssize_t i = 0; i <= j; i++, k++) to[i * width + j] = to[j * width + i] = packed[k];
}

INLINE void add_dropped(arms *one) {
    for (Py_ssize_t i = 0; i < one->regressors; i++) one->gram[i * one->width + i] += one->dropped[i];
}

/* log|V|. */
INLINE double log_of_variances(const arms *one, const double *theta) {
    double sum = 0.0;
    for (Py_ssize_t arm = 0; arm < 2; arm++) {
        double s = theta[arm], t = theta[2 + arm], logs = 0.0;
        const double *n = one->sizes + arm * one->slots, *count = one->counts + arm * one->slots;
        for (Py_ssize_t k = 0; k < one->slots; k++)
            if (count[k] != 0.0) logs += count[k] * log(s + n[k] * t);
        sum += (one->people[arm] - one->clusters[arm]) * log(s) + logs;
    }
    return sum;
}

VECTORISED
double value_of_arms(arms *one, const double *theta, int reml) {
    double rest;
    for (Py_ssize_t k = 0; k < one->wide; k++) one->total[k] = 0.0;
    for (Py_ssize_t arm = 0; arm < 2; arm++) {
        double s = theta[arm], t = theta[2 + arm];
        for (Py_ssize_t k = 0; k < one->slots; k++) {
            double n = one->sizes[arm * one->slots + k];
            add_row(one->total, n / (s + n * t), one->between + (arm * one->slots + k) * one->wide, 0, one->wide);
        }
        add_row(one->total, 1.0 / s, one->within + arm * one->wide, 0, one->wide);
    }
    unpack_rows(one->gram, one->total, one->regressors + 1, one->width);
    add_dropped(one);
    double log_c = eliminate_rows(one->gram, one->regressors, one->width, &rest);
    return log_of_variances(one, theta) + rest + (reml ? log_c : 0.0);
}

/* M and its four first derivatives. */
INLINE void matrices(arms *one, const double *theta) {
    Py_ssize_t wide = one->wide;
    for (Py_ssize_t k = 0; k < wide; k++) one->total[k] = 0.0;
    for (Py_ssize_t k = 0; k < 4 * wide; k++) one->first[k] = 0.0;
    for (Py_ssize_t arm = 0; arm < 2; arm++) {
        double s = theta[arm], t = theta[2 + arm], *by_s = one->first + arm * wide, *by_t = one->first + (2 + arm) * wide;
        const double *within = one->within + arm * wide;
        for (Py_ssize_t k = 0; k < one->slots; k++) {
            double n = one->sizes[arm * one->slots + k], w = n / (s + n * t);
            const double *row = one->between + (arm * one->slots + k) * wide;
            add_row(one->total, w, row, 0, wide), add_row(by_s, -w * w / n, row, 0, wide), add_row(by_t, -w * w, row, 0, wide);
        }
        add_row(one->total, 1.0 / s, within, 0, wide), add_row(by_s, -1.0 / (s * s), within, 0, wide);
    }
    Py_ssize_t q = one->regressors + 1;
    unpack_rows(one->gram, one->total, q, one->width);
    for (Py_ssize_t a = 0; a < 4; a++) unpack_rows(one->slopes + a * q * one->width, one->first + a * wide, q, one->width);
    add_dropped(one);
}

/* What turns packed matrices A into tr(C^-1 A_X) and v'Av. */
INLINE void packed_weights(arms *one) {
    Py_ssize_t p = one->regressors, width = one->width;
    for (Py_ssize_t j = 0, k = 0; j <= p; j++)
        for (Py_ssize_t i = 0; i <= j; i++, k++) {
            double twice = i == j ? 1.0 : 2.0;
            one->weights[k] = j < p ? one->gram[i * width + j] * twice : 0.0;
            one->weights[one->wide + k] = one->v[i] * one->v[j] * twice;
        }
}

/* Second derivatives of what is linear in C^-1 and in vv', and of log|V|, by the variances of an arm; and its slope. */
INLINE void second(const arms *one, const double *theta, Py_ssize_t arm, double (*by_c)[4], double (*by_q)[4],
                   double (*logs2)[4], double *logs) {
    Py_ssize_t at_s = arm, at_t = 2 + arm, wide = one->wide;
    double s = theta[at_s], t = theta[at_t], rest = one->people[arm] - one->clusters[arm];
    double c[3] = {0}, q[3] = {0}, two[3] = {0}; /* by s twice, by s and t, by t twice */
    logs[at_s] = rest / s, logs[at_t] = 0.0;
    for (Py_ssize_t k = 0; k < one->slots; k++) {
        double n = one->sizes[arm * one->slots + k], count = one->counts[arm * one->slots + k], w = n / (s + n * t);
        const double *row = one->between + (arm * one->slots + k) * wide;
        double of_c = dot(one->weights, row, wide), of_q = dot(one->weights + wide, row, wide);
        double shares[] = {1.0 / (n * n), 1.0 / n, 1.0};
        for (int m = 0; m < 3; m++) {
            c[m] += of_c * (2.0 * w * w * w * shares[m]), q[m] += of_q * (2.0 * w * w * w * shares[m]);
            two[m] -= count * w * w * shares[m];
        }
        logs[at_s] += count * w / n, logs[at_t] += count * w;
    }
    const double *within = one->within + arm * wide;
    c[0] += 2.0 * dot(one->weights, within, wide) / (s * s * s);
    q[0] += 2.0 * dot(one->weights + wide, within, wide) / (s * s * s);
    two[0] -= rest / (s * s);
    by_c[at_s][at_s] = c[0], by_c[at_s][at_t] = by_c[at_t][at_s] = c[1], by_c[at_t][at_t] = c[2];
    by_q[at_s][at_s] = q[0], by_q[at_s][at_t] = by_q[at_t][at_s] = q[1], by_q[at_t][at_t] = q[2];
    logs2[at_s][at_s] = two[0], logs2[at_s][at_t] = logs2[at_t][at_s] = two[1], logs2[at_t][at_t] = two[2];
}

/* C^-1 C_a of every variance, and M_a v. */
INLINE void changes(arms *one) {
    Py_ssize_t p = one->regressors, q = p + 1, width = one->width;
    for (Py_ssize_t a = 0; a < 4; a++) {
        const double *first = one->slopes + a * q * width;
        double *to = one->change + a * p * p;
        for (Py_ssize_t i = 0; i < p; i++)
            for (Py_ssize_t k = 0; k < p; k++) {
                double sum = 0.0;
                for (Py_ssize_t j = 0; j < p; j++) sum += one->gram[i * width + j] * first[j * width + k];
                to[i * p + k] = sum;
            }
        for (Py_ssize_t i = 0; i < q; i++) {
            double sum = 0.0;
            for (Py_ssize_t j = 0; j < q; j++) sum += first[i * width + j] * one->v[j];
            one->steps[a * q + i] = sum;
        }
    }
}

VECTORISED
void evaluate_arms(arms *one, const double *theta, int reml, arm_evaluation *at) {
    Py_ssize_t p = one->regressors, q = p + 1, width = one->width;
    double by_c[4][4] = {{0}}, by_q[4][4] = {{0}}, logs2[4][4] = {{0}}, logs[4];
    matrices(one, theta);
    double log_c = sweep_rows(one->gram, one->row, one->column, one->regressors, width);
    at->value = log_of_variances(one, theta) + one->gram[p * width + p] + (reml ? log_c : 0.0);
    for (Py_ssize_t i = 0; i < p; i++) one->v[i] = -one->gram[i * width + p];
    one->v[p] = 1.0;
    packed_weights(one);
    for (Py_ssize_t arm = 0; arm < 2; arm++) second(one, theta, arm, by_c, by_q, logs2, logs);
    changes(one);
    for (Py_ssize_t a = 0; a < 4; a++) {
        const double *change = one->change + a * p * p, *steps = one->steps + a * q;
        double trace = 0.0, along = 0.0;
        for (Py_ssize_t i = 0; i < p; i++) trace += change[i * p + i];
        for (Py_ssize_t i = 0; i < q; i++) along += steps[i] * one->v[i];
        at->slope[a] = logs[a] + along + (reml ? trace : 0.0);
        for (Py_ssize_t b = 0; b < 4; b++) {
            const double *other = one->change + b * p * p, *its = one->steps + b * q;
            double across = 0.0, bend = 0.0;
            for (Py_ssize_t i = 0; i < p; i++)
                for (Py_ssize_t j = 0; j < p; j++) {
                    across += change[i * p + j] * other[j * p + i];
                    bend += steps[i] * one->gram[i * width + j] * its[j];
                }
            double information = -0.5 * (reml ? logs2[a][b] + by_c[a][b] - across : logs2[a][b]);
            at->curvature[a][b] = by_q[a][b] - 2.0 * bend - 2.0 * information;
        }
    }
}
