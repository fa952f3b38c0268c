/* Twin of `point` in simtrial/kernels/two_classes.py, whose head has the formulas; the nodes of a practice are in lanes. */
#include "two_classes.h"

#include "exponential.h"
#include "logarithm.h"

#define HALF_LOG_TWO_PI 0.91893853320467274178
enum { FACTORS = 512 }; /* of 1 to 2, whose product is a number */

INLINE double total(const lanes *values, const lanes *weights, Py_ssize_t sets) {
    lanes sum = {0};
    for (Py_ssize_t k = 0; k < sets; k++) sum += values[k] * weights[k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static double dot(const double *one, const double *other, Py_ssize_t count) {
    double sum = 0.0;
    for (Py_ssize_t k = 0; k < count; k++) sum += one[k] * other[k];
    return sum;
}

/* Residuals and probabilities of the people of a practice, from row `from`; where the posterior of v is, as nodes. */
INLINE void begin_practice(const classes *w, const parameters *now, Py_ssize_t from, Py_ssize_t people) {
    double residual = 0.0, blur = 0.0;
    for (Py_ssize_t i = 0; i < people; i++) {
        double y = AT(w->outcome, from + i);
        double one = w->one[i] = y - dot(PART(w->first, (from + i) * w->p, w->p), now->beta, w->p);
        double two = w->two[i] = y - dot(PART(w->other, (from + i) * w->p, w->p), now->beta, w->p);
        double line = w->line[i] = dot(PART(w->predictors, (from + i) * w->q, w->q), now->slope, w->q);
        w->log_first[i] = -((line < 0.0 ? -line : 0.0) + log1p(exp(-fabs(line))));
        double prior = w->prior[i] = exp(w->log_first[i]);
        double expected = w->is_known ? AT(w->in_first, from + i) : prior;
        residual += expected * one + (1.0 - expected) * two;
        if (!w->is_known) blur += prior * (1.0 - prior) * (one - two) * (one - two);
    }
    double number = (double)people, spread = now->square + blur / number;
    double whole = spread + number * now->tau * now->tau, centre = now->tau * residual / whole, sd = sqrt(spread / whole);
    for (Py_ssize_t k = 0; k < w->sets; k++)
        EACH(l) {
            Py_ssize_t at = k * LANES + l;
            double x = at < w->nodes ? AT(w->x, at) : 0.0, node = at < w->nodes ? centre + sd * x : 0.0;
            w->node[k][l] = node;
            w->share[k][l] = at < w->nodes ? AT(w->log_weight, at) + 0.5 * x * x + log(sd) - 0.5 * node * node -
                                                 HALF_LOG_TWO_PI : -INFINITY;
        }
}

/* Scores of a person at some nodes, added to those of the practice. */
INLINE void add_scores(const classes *w, Py_ssize_t row, Py_ssize_t i, Py_ssize_t k, lanes own, lanes rest, lanes u, lanes v) {
    const double *one = PART(w->first, row * w->p, w->p), *other = PART(w->other, row * w->p, w->p);
    const double *z = PART(w->predictors, row * w->q, w->q);
    lanes *each = w->each + k, apart = w->class_one[i * w->sets + k] - w->prior[i];
    for (Py_ssize_t c = 0; c < w->p; c++) each[c * w->sets] += one[c] * own + other[c] * rest;
    each[w->p * w->sets] += own + rest;
    each[(w->p + 1) * w->sets] += own * u + rest * v;
    for (Py_ssize_t c = 0; c < w->q; c++) each[(w->p + 2 + c) * w->sets] += z[c] * apart;
}

/* Log-likelihood of a person at every node, added to those in `share`, and the probability of class 1 there. */
INLINE void add_person(const classes *w, const parameters *now, Py_ssize_t row, Py_ssize_t i) {
    double one = w->one[i], two = w->two[i], halved = -0.5 / now->square, line = w->line[i], log_first = w->log_first[i];
    int in_first = w->is_known && AT(w->in_first, row) == 1.0;
    for (Py_ssize_t k = 0; k < w->sets; k++) {
        lanes shift = now->tau * w->node[k], u = one - shift, v = two - shift, of_first;
        if (w->is_known) {
            lanes own = in_first ? u : v;
            of_first = all(in_first ? 1.0 : 0.0);
            w->share[k] += (in_first ? log_first : log_first - line) + halved * own * own;
        } else {
            lanes odds = line + halved * (one - two) * ((one + two) - 2.0 * shift), less = exponential(-size_of(odds));
            choice likely = odds > 0.0;
            w->share[k] += (log_first + halved * u * u) - chosen(likely, all(0.0), odds);
            w->product[k] *= 1.0 + less;
            of_first = chosen(likely, all(1.0), less) / (1.0 + less);
        }
        w->class_one[i * w->sets + k] = of_first;
        if (w->derivatives)
            add_scores(w, row, i, k, of_first * u / now->square, (1.0 - of_first) * v / now->square, u, v);
    }
}

INLINE void multiply_out(const classes *w) {
    for (Py_ssize_t k = 0; k < w->sets; k++) w->share[k] += logarithm(w->product[k]), w->product[k] = all(1.0);
}

/* From log weights to shares of the nodes; returns the log-likelihood. */
INLINE double weigh_nodes(const classes *w, const parameters *now, Py_ssize_t people) {
    double top = -INFINITY, sum = 0.0, constant = (double)people * (log(now->sigma) + HALF_LOG_TWO_PI);
    for (Py_ssize_t k = 0; k < w->sets; k++)
        EACH(l) if (w->share[k][l] > top || w->share[k][l] != w->share[k][l]) top = w->share[k][l];
    for (Py_ssize_t k = 0; k < w->sets; k++) {
        w->share[k] = exponential(w->share[k] - top);
        EACH(l) sum += w->share[k][l];
    }
    for (Py_ssize_t k = 0; k < w->sets; k++) w->share[k] /= sum;
    return top + log(sum) - constant;
}

/* Expected score of a practice, and its variance over v. */
INLINE void add_practice(const classes *w, Py_ssize_t people, double *score, double *missing) {
    for (Py_ssize_t k = 0; k < w->sets; k++) {
        w->each[w->p * w->sets + k] *= w->node[k];
        w->each[(w->p + 1) * w->sets + k] -= (double)people;
    }
    for (Py_ssize_t c = 0; c < w->size; c++) {
        lanes *each = w->each + c * w->sets;
        double mean = w->mean[c] = total(each, w->share, w->sets);
        score[c] += mean;
        for (Py_ssize_t k = 0; k < w->sets; k++) each[k] -= mean;
    }
    for (Py_ssize_t c = 0; c < w->size; c++)
        for (Py_ssize_t d = c; d < w->size; d++) {
            lanes sum = {0};
            const lanes *one = w->each + c * w->sets, *other = w->each + d * w->sets;
            for (Py_ssize_t k = 0; k < w->sets; k++) sum += w->share[k] * one[k] * other[k];
            missing[c * w->size + d] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
}

/* What rests on the shares of the nodes: expectations over v of P(class 1), of v and of P(class 1) P(class 0). */
INLINE void add_person_derivatives(const classes *w, const parameters *now, Py_ssize_t row, Py_ssize_t i, double v, double vv,
                                   double *complete, double *missing) {
    lanes first = {0}, moved = {0}, doubt[3] = {{0}, {0}, {0}};
    for (Py_ssize_t k = 0; k < w->sets; k++) {
        lanes own = w->share[k] * w->class_one[i * w->sets + k], both = own * (1.0 - w->class_one[i * w->sets + k]);
        first += own, moved += own * w->node[k];
        doubt[0] += both, both *= w->node[k], doubt[1] += both, doubt[2] += both * w->node[k];
    }
    double expected[4] = {0.0, 0.0, v, vv}, m[3] = {0.0, 0.0, 0.0};
    EACH(l) {
        expected[0] += first[l], expected[1] += moved[l];
        for (int k = 0; k < 3; k++) m[k] += doubt[k][l];
    }
    add_complete(w, now, row, i, expected, complete);
    if (!w->is_known) add_doubt(w, now, row, i, m, missing);
}

VECTORISED void add_classes(const classes *w) {
    Py_ssize_t size = w->size, p = w->p;
    for (Py_ssize_t j = 0, from = 0; j < w->practices; from += w->people[j], j++) {
        Py_ssize_t t = w->practice_trial[j], people = w->people[j];
        const double *at = PART(w->at, t * size, size);
        double sigma = exp(at[p + 1]);
        parameters now = {.beta = at, .slope = at + p + 2, .tau = at[p], .sigma = sigma, .square = sigma * sigma};
        begin_practice(w, &now, from, people);
        for (Py_ssize_t k = 0; k < w->sets; k++) w->product[k] = all(1.0);
        for (Py_ssize_t c = 0; c < size * w->sets; c++) w->each[c] = all(0.0);
        for (Py_ssize_t i = 0; i < people; i++) {
            add_person(w, &now, from + i, i);
            if (i % FACTORS == FACTORS - 1) multiply_out(w);
        }
        multiply_out(w);
        AT(w->loglik, t) += weigh_nodes(w, &now, people);
        if (!w->derivatives) continue;
        double *complete = PART(w->complete, t * size * size, size * size);
        double *missing = PART(w->missing, t * size * size, size * size);
        add_practice(w, people, PART(w->score, t * size, size), missing);
        lanes v = {0}, vv = {0};
        for (Py_ssize_t k = 0; k < w->sets; k++) {
            lanes own = w->share[k] * w->node[k];
            v += own, vv += own * w->node[k];
        }
        double mean = (v[0] + v[1]) + (v[2] + v[3]), square = (vv[0] + vv[1]) + (vv[2] + vv[3]);
        complete[(p + 1) * size + p + 1] += 2.0 * (double)people;
        for (Py_ssize_t i = 0; i < people; i++) add_person_derivatives(w, &now, from + i, i, mean, square, complete, missing);
    }
}
