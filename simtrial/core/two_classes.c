/* Twin of `point` in simtrial/kernels/two_classes.py, whose head has the formulas; the nodes of a practice are in lanes. */
#include "exponential.h"
#include "kernels.h"
#include "logarithm.h"

#include <stdlib.h>

#define HALF_LOG_TWO_PI 0.91893853320467274178
enum { FACTORS = 512 }; /* of 1 to 2, whose product is a number */

typedef struct {
    Py_ssize_t rows, practices, trials, p, q, size, nodes, sets, most; /* sets of LANES nodes; most people of a practice */
    int is_known, derivatives;
    const double *outcome, *first, *other, *predictors, *in_first, *at, *x, *log_weight;
    const int64_t *practice_trial, *people;
    double *loglik, *score, *complete, *missing;
    lanes *node, *share, *product, *class_one, *each; /* (sets) three times, (most, sets), (size, sets) */
    double *one, *two, *line, *log_first, *prior;     /* of the people of a practice (most) */
    double *mean, *a, *b;                             /* (size) */
} classes;

/* Parameters of a trial. */
typedef struct {
    const double *beta, *slope;
    double tau, sigma, square;
} parameters;

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
    const double *one = w->first + row * w->p, *other = w->other + row * w->p, *z = w->predictors + row * w->q;
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

/* Variance over classes of a person's score: that of the two classes differs by a + b v; upper triangle. */
static void add_doubt(const classes *w, const parameters *now, Py_ssize_t row, Py_ssize_t i, const double *m, double *missing) {
    Py_ssize_t p = w->p, size = w->size;
    const double *one = w->first + row * p, *other = w->other + row * p;
    double apart = (w->one[i] - w->two[i]) / now->square;
    for (Py_ssize_t c = 0; c < p; c++) {
        w->a[c] = (one[c] * w->one[i] - other[c] * w->two[i]) / now->square;
        w->b[c] = (other[c] - one[c]) * (now->tau / now->square);
    }
    w->a[p] = 0.0, w->b[p] = apart;
    w->a[p + 1] = apart * (w->one[i] + w->two[i]), w->b[p + 1] = -2.0 * now->tau * apart;
    for (Py_ssize_t c = 0; c < w->q; c++) w->a[p + 2 + c] = w->predictors[row * w->q + c], w->b[p + 2 + c] = 0.0;
    for (Py_ssize_t c = 0; c < size; c++) {
        double ahead = m[0] * w->a[c] + m[1] * w->b[c], behind = m[1] * w->a[c] + m[2] * w->b[c];
        for (Py_ssize_t d = c; d < size; d++) missing[c * size + d] += ahead * w->a[d] + behind * w->b[d];
    }
}

/* A person's part of the complete-data information, but for log sigma; upper triangle. */
static void add_complete(const classes *w, const parameters *now, Py_ssize_t row, Py_ssize_t i, const double *e, double *complete) {
    Py_ssize_t p = w->p, size = w->size;
    const double *one = w->first + row * p, *other = w->other + row * p, *z = w->predictors + row * w->q;
    double inverse = 1.0 / now->square, spread = w->prior[i] * (1.0 - w->prior[i]);
    for (Py_ssize_t c = 0; c < p; c++) {
        double in_one = e[0] * inverse * one[c], in_other = (1.0 - e[0]) * inverse * other[c];
        for (Py_ssize_t d = c; d < p; d++) complete[c * size + d] += in_one * one[d] + in_other * other[d];
        complete[c * size + p] += e[1] * inverse * one[c] + (e[2] - e[1]) * inverse * other[c];
    }
    complete[p * size + p] += e[3] * inverse;
    for (Py_ssize_t c = 0; c < w->q; c++)
        for (Py_ssize_t d = c; d < w->q; d++) complete[(p + 2 + c) * size + p + 2 + d] += spread * z[c] * z[d];
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

VECTORISED static void add_all(const classes *w) {
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
        double *complete = PART(w->complete, t * size * size, size * size), *missing = PART(w->missing, t * size * size, size * size);
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

/* Terms of log sigma, which are twice the score, and the lower triangles. */
static void complete_all(const classes *w) {
    Py_ssize_t size = w->size, p = w->p;
    for (Py_ssize_t t = 0; t < w->trials; t++) {
        double *complete = PART(w->complete, t * size * size, size * size), *missing = PART(w->missing, t * size * size, size * size);
        const double *score = PART(w->score, t * size, size);
        for (Py_ssize_t c = 0; c <= p; c++) complete[c * size + p + 1] = 2.0 * score[c];
        complete[(p + 1) * size + p + 1] += 2.0 * score[p + 1];
        for (Py_ssize_t c = 0; c < size; c++)
            for (Py_ssize_t d = 0; d < c; d++)
                complete[c * size + d] = complete[d * size + c], missing[c * size + d] = missing[d * size + c];
    }
}

static int are_people(classes *w) {
    Py_ssize_t rows = 0;
    for (Py_ssize_t j = 0; j < w->practices; j++) {
        if (w->people[j] < 1 || w->people[j] > w->rows - rows) {
            PyErr_SetString(PyExc_ValueError, "sizes: people of each practice, all rows together, are wanted");
            return 0;
        }
        rows += w->people[j];
        w->most = w->people[j] > w->most ? w->people[j] : w->most;
    }
    if (rows == w->rows) return 1;
    PyErr_SetString(PyExc_ValueError, "sizes: people of each practice, all rows together, are wanted");
    return 0;
}

static double *make_room(classes *w) {
    w->sets = (w->nodes + LANES - 1) / LANES;
    double *room = room_for((3 + w->most + w->size) * w->sets * LANES + 5 * w->most + 3 * w->size, 1);
    if (room == NULL) return NULL;
    w->node = (lanes *)room, w->share = w->node + w->sets, w->product = w->share + w->sets, w->class_one = w->product + w->sets;
    w->each = w->class_one + w->most * w->sets;
    w->one = (double *)(w->each + w->size * w->sets), w->two = w->one + w->most, w->line = w->two + w->most;
    w->log_first = w->line + w->most, w->prior = w->log_first + w->most, w->mean = w->prior + w->most;
    w->a = w->mean + w->size, w->b = w->a + w->size;
    return room;
}

PyObject *core_point_of_classes(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { OUTCOME, FIRST, OTHER, PREDICTORS, IN_FIRST, PRACTICE_TRIAL, SIZES, PARAMETERS, NODES, LOG_WEIGHTS,
           LOGLIK, SCORE, COMPLETE, MISSING, END, MORE = 1 };
    array a[] = {
        {.name = "outcome", .kind = FLOATS, .dimensions = 1, .shape = {-1}},
        {.name = "first", .kind = FLOATS, .dimensions = 2, .shape = {-1, -1}},
        {.name = "other", .kind = FLOATS, .dimensions = 2, .shape = {-1, -1}},
        {.name = "predictors", .kind = FLOATS, .dimensions = 2, .shape = {-1, -1}},
        {.name = "in_first", .kind = FLOATS, .dimensions = 1, .shape = {-1}},
        {.name = "practice_trial", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "sizes", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "at", .kind = FLOATS, .dimensions = 2, .shape = {-1, -1}},
        {.name = "nodes", .kind = FLOATS, .dimensions = 1, .shape = {-1}},
        {.name = "log_weights", .kind = FLOATS, .dimensions = 1, .shape = {-1}},
        {.name = "loglik", .kind = FLOATS, .writable = 1, .dimensions = 1, .shape = {-1}},
        {.name = "score", .kind = FLOATS, .writable = 1, .dimensions = 2, .shape = {-1, -1}},
        {.name = "complete", .kind = FLOATS, .writable = 1, .dimensions = 3, .shape = {-1, -1, -1}},
        {.name = "missing", .kind = FLOATS, .writable = 1, .dimensions = 3, .shape = {-1, -1, -1}}};
    PyObject *result = NULL;
    double *room = NULL;
    classes w = {.most = 1};
    if (number != END + MORE) return PyErr_Format(PyExc_TypeError, "point_of_classes takes %d arguments", END + MORE), NULL;
    w.derivatives = PyObject_IsTrue(given[LOGLIK]);
    if (w.derivatives < 0 || !take_arrays(a, LOGLIK, given) || !take_arrays(a + LOGLIK, END - LOGLIK, given + LOGLIK + MORE))
        goto end;
    w.rows = a[OUTCOME].shape[0], w.p = a[FIRST].shape[1], w.q = a[PREDICTORS].shape[1], w.practices = a[SIZES].shape[0];
    w.trials = a[PARAMETERS].shape[0], w.size = a[PARAMETERS].shape[1], w.nodes = a[NODES].shape[0];
    w.is_known = a[IN_FIRST].shape[0] != 0;
    int alike = a[FIRST].shape[0] == w.rows && a[OTHER].shape[0] == w.rows && a[OTHER].shape[1] == w.p &&
                a[PREDICTORS].shape[0] == w.rows && (!w.is_known || a[IN_FIRST].shape[0] == w.rows) &&
                a[PRACTICE_TRIAL].shape[0] == w.practices && w.size == w.p + 2 + w.q && w.size < 1000 && w.nodes > 0 &&
                a[LOG_WEIGHTS].shape[0] == w.nodes && a[LOGLIK].shape[0] == w.trials;
    for (int k = SCORE; k < END; k++)
        alike &= a[k].shape[0] == w.trials && a[k].shape[1] == w.size && (k == SCORE || a[k].shape[2] == w.size);
    if (!alike) {
        PyErr_SetString(PyExc_ValueError, "arrays are not of the same people, parameters and trials");
        goto end;
    }
    w.outcome = a[OUTCOME].at, w.first = a[FIRST].at, w.other = a[OTHER].at, w.predictors = a[PREDICTORS].at;
    w.in_first = a[IN_FIRST].at, w.practice_trial = a[PRACTICE_TRIAL].at, w.people = a[SIZES].at, w.at = a[PARAMETERS].at;
    w.x = a[NODES].at, w.log_weight = a[LOG_WEIGHTS].at, w.loglik = a[LOGLIK].at, w.score = a[SCORE].at;
    w.complete = a[COMPLETE].at, w.missing = a[MISSING].at;
    if (!are_places(&a[PRACTICE_TRIAL], w.trials) || !are_people(&w) || (room = make_room(&w)) == NULL) goto end;
    Py_BEGIN_ALLOW_THREADS
    for (int k = LOGLIK; k < END; k++) memset(a[k].at, 0, (size_t)a[k].view.len);
    add_all(&w);
    if (w.derivatives) complete_all(&w);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}
