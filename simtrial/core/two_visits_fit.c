/* Twin of `_minimised` in simtrial/kernels/two_visits_fit.py: the way from every start to its end. Ends that are not
   certain, flat ones and those where residuals vary little, are handed back. */
#include "kernels.h"
#include "newton_step.h"
#include "two_visits_criterion.h"

#define STEPS 80
#define CLOSE 1e-18
#define LONGEST 0.5
#define ROUNDING 1e-11
#define FLAT 1e-6
#define BENT 1e-4 /* least eigenvalue of the second derivatives, as a share of the largest, at which an end is certain */
#define ROUND 0.02 /* of E */
#define STEEP 300.0 /* variance between over that within practices, times the people of the largest */
#define LEFT 20 /* residual degrees of freedom */
#define MOVED MOST_MOVED

/* Where a start has come to: packed roots, the criterion and its derivatives by them, and the next step's share. */
typedef struct {
    double x[MOVED], slope[MOVED], model[MOVED * MOVED], learnt[MOVED * MOVED], value, length;
    const unsigned char *free;
} state;

static symmetric root_at(const double *x, int block) { return (symmetric){x[3 * block], x[3 * block + 1], x[3 * block + 2]}; }

static double larger(double a, double b) { return a > b ? a : b; }

/* Derivatives by the packed roots: G A + A G for each. */
static void slope_of(const double *x, const symmetric *g, const unsigned char *free, double *slope) {
    for (int block = 0; block < 2; block++) {
        symmetric a = root_at(x, block), by = g[block];
        double *to = slope + 3 * block;
        double across = (by.m00 * a.m01 + by.m01 * a.m11) + (a.m00 * by.m01 + a.m01 * by.m11);
        to[0] = 2.0 * (by.m00 * a.m00 + by.m01 * a.m01), to[1] = 2.0 * across;
        to[2] = 2.0 * (by.m01 * a.m01 + by.m11 * a.m11);
    }
    for (int k = 0; k < MOVED; k++)
        if (!free[k]) slope[k] = 0.0;
}

/* Expected second derivatives by the packed roots, and what the squares add. */
static void model_of(const double *x, const symmetric *g, const double *expected, double *model) {
    double change[MOVED][MOVED] = {{0}}, half[MOVED][MOVED];
    for (int block = 0, i = 0; block < 2; block++, i += 3) {
        symmetric a = root_at(x, block);
        change[i][i] = 2.0 * a.m00, change[i + 1][i] = a.m01;
        change[i][i + 1] = 2.0 * a.m01, change[i + 1][i + 1] = a.m00 + a.m11, change[i + 2][i + 1] = 2.0 * a.m01;
        change[i + 1][i + 2] = a.m01, change[i + 2][i + 2] = 2.0 * a.m11;
    }
    for (int i = 0; i < MOVED; i++)
        for (int j = 0; j < MOVED; j++) {
            half[i][j] = 0.0;
            for (int k = 0; k < MOVED; k++) half[i][j] += change[k][i] * expected[k * MOVED + j];
        }
    for (int i = 0; i < MOVED; i++)
        for (int j = 0; j < MOVED; j++) {
            model[i * MOVED + j] = 0.0;
            for (int k = 0; k < MOVED; k++) model[i * MOVED + j] += half[i][k] * change[k][j];
        }
    for (int block = 0, i = 0; block < 2; block++, i += 3) {
        symmetric by = g[block];
        model[i * MOVED + i] += 2.0 * by.m00, model[(i + 2) * MOVED + i + 2] += 2.0 * by.m11;
        model[(i + 1) * MOVED + i + 1] += 2.0 * (by.m00 + by.m11);
        for (int k = i; k < i + 3; k += 2)
            model[k * MOVED + i + 1] += 2.0 * by.m01, model[(i + 1) * MOVED + k] += 2.0 * by.m01;
    }
}

/* Put the state at a point that was evaluated last. */
static void arrive(state *at, const visits *one, const double *x, const visit_evaluation *there) {
    symmetric g[] = {there->by_e, there->by_u};
    double expected[MOVED * MOVED];
    memcpy(at->x, x, sizeof at->x);
    at->value = there->value, at->length = 1.0;
    slope_of(x, g, at->free, at->slope);
    curvature_of_visits(one, squared(root_at(x, 0)), expected);
    model_of(x, g, expected, at->model);
}

/* As `_newton`: step and promised decrease, NaN where derivatives cannot be computed; the share of `newton_step`. */
static double step_of(const state *at, double *step, double *promised) {
    double model[MOVED * MOVED], slope[MOVED], unit[MOVED], sizes = 0.0, most = 0.0, longest = 0.0, own = 0.0, size = 0.0;
    for (int i = 0; i < MOVED * MOVED; i++) {
        model[i] = at->model[i] + at->learnt[i];
        sizes += fabs(model[i]);
    }
    for (int i = 0; i < MOVED; i++) sizes += fabs(at->slope[i]), step[i] = 0.0;
    *promised = NAN;
    if (!isfinite(sizes)) return 0.0;
    for (int i = 0; i < MOVED; i++) {
        unit[i] = at->free[i] ? sqrt(fabs(model[i * MOVED + i])) : 1.0;
        most = larger(most, unit[i]);
    }
    for (int i = 0; i < MOVED; i++) unit[i] = larger(unit[i], 1e-7 * most), slope[i] = at->slope[i] / unit[i];
    for (int i = 0; i < MOVED; i++)
        for (int j = 0; j < MOVED; j++) {
            double entry = at->free[i] && at->free[j] ? model[i * MOVED + j] : i == j;
            model[i * MOVED + j] = entry / (unit[i] * unit[j]);
        }
    double share = newton_step(model, slope, MOVED, FLAT, step, promised);
    for (int i = 0; i < MOVED; i++) {
        step[i] /= unit[i];
        longest = larger(longest, fabs(step[i]));
        if (i < 3) own = larger(own, fabs(step[i])), size = larger(size, fabs(at->x[i]));
    }
    double shorten = LONGEST / larger(larger(longest, own / size), LONGEST);
    shorten = shorten < 1.0 ? shorten : 1.0;
    for (int i = 0; i < MOVED; i++) step[i] *= shorten;
    *promised *= shorten;
    return share;
}

/* As `_advance`: take the step, and learn from the change of slope; or go back and shorten. */
static void advance(state *at, visits *one, const double *step, double promised, int reml) {
    double x[MOVED], moved[MOVED], slope[MOVED], missing[MOVED], against = 0.0, squares = 0.0, moves = 0.0;
    visit_evaluation there;
    for (int i = 0; i < MOVED; i++) x[i] = at->x[i] + at->length * step[i];
    evaluate_visits(one, squared(root_at(x, 0)), root_at(x, 1), reml, &there);
    double allowed = at->value + ROUNDING * (1.0 + fabs(at->value)) - 1e-4 * at->length * promised;
    if (!(there.value <= allowed)) {
        at->length *= 0.3;
        return;
    }
    memcpy(slope, at->slope, sizeof slope);
    for (int i = 0; i < MOVED; i++) moved[i] = x[i] - at->x[i];
    arrive(at, one, x, &there);
    for (int i = 0; i < MOVED; i++) {
        double expected = 0.0;
        for (int j = 0; j < MOVED; j++) expected += (at->model[i * MOVED + j] + at->learnt[i * MOVED + j]) * moved[j];
        missing[i] = at->slope[i] - slope[i] - (at->free[i] ? expected : 0.0);
        against += missing[i] * moved[i], squares += missing[i] * missing[i], moves += moved[i] * moved[i];
    }
    if (!(fabs(against) > 1e-3 * sqrt(squares * moves))) return;
    for (int i = 0; i < MOVED; i++)
        for (int j = 0; j < MOVED; j++) at->learnt[i * MOVED + j] += 1.0 / against * missing[i] * missing[j];
}

static double half_apart(symmetric a) {
    double half = 0.5 * (a.m00 - a.m11);
    return sqrt(half * half + a.m01 * a.m01);
}

/* Whether there are data enough, and E and U such that sums do not lose more than three digits. */
static int is_round(const visits *one, const double *x) {
    Py_ssize_t n = one->practices;
    symmetric e = squared(root_at(x, 0)), u = squared(root_at(x, 1));
    double least = 0.5 * (e.m00 + e.m11) - half_apart(e), most = 0.5 * (u.m00 + u.m11) + half_apart(u), people = 0.0;
    for (Py_ssize_t j = 0; j < n; j++) people = larger(people, one->counts[j] + one->counts[n + j] + one->counts[2 * n + j]);
    double left = 2.0 * one->total[0] + one->total[1] + one->total[2] - one->regressors;
    return left >= LEFT && least > ROUND && most * people < STEEP * least;
}

/* From one start to its end, put in place of it; whether that is certain. */
static int search(visits *one, const unsigned char *free, int reml, double *x, double *ended) {
    state at = {.free = free};
    visit_evaluation there;
    double step[MOVED], promised;
    evaluate_visits(one, squared(root_at(x, 0)), root_at(x, 1), reml, &there);
    if (!isfinite(there.value)) return 0;
    arrive(&at, one, x, &there);
    for (int turn = 0; turn < STEPS; turn++) {
        double share = step_of(&at, step, &promised);
        if (promised < CLOSE) {
            for (int i = 0; i < MOVED; i++) x[i] = at.x[i] + step[i];
            *ended = at.value;
            return share > BENT && is_round(one, x);
        }
        if (!isfinite(promised)) return 0;
        advance(&at, one, step, promised, reml);
    }
    return 0;
}

PyObject *core_minimise_visits(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { TRIAL = VISIT_SUMS_END, FREE, START, FOUND, ENDED, SURE, END }; /* reml stands before START */
    array a[] = {VISIT_SUMS, IN("trial", INTS), IN("free", BOOLS), IN("start", FLOATS), OUT("found", FLOATS),
                 OUT("ended", FLOATS), OUT("sure", BOOLS)};
    visit_sums sums;
    visits one = {0};
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "minimise_visits takes %d arguments", END + 1), NULL;
    int reml = PyObject_IsTrue(given[START]);
    if (reml < 0) return NULL;
    if (!take_visit_sums(&sums, a, given)) goto end;
    for (int k = TRIAL; k < END; k++) {
        a[k].dimensions = k == FREE || k == START || k == FOUND ? 2 : 1;
        a[k].shape[0] = -1, a[k].shape[1] = MOVED;
    }
    if (!take_array(&a[TRIAL], given[TRIAL]) || !are_places(&a[TRIAL], sums.trials)) goto end;
    for (int k = FREE; k < END; k++) a[k].shape[0] = a[TRIAL].shape[0];
    if (!take_array(&a[FREE], given[FREE]) || !take_arrays(a + START, END - START, given + START + 1)) goto end;
    if (!make_visits(&one, &sums)) goto end;
    const int64_t *trial = a[TRIAL].at;
    double *found = a[FOUND].at, *ended = a[ENDED].at;
    unsigned char *sure = a[SURE].at;
    Py_BEGIN_ALLOW_THREADS
    memcpy(found, a[START].at, (size_t)a[START].view.len);
    for (Py_ssize_t k = 0; k < a[TRIAL].shape[0]; k++) {
        const unsigned char *free = PART((const unsigned char *)a[FREE].at, k * MOVED, MOVED);
        load_visits(&one, &sums, AT(trial, k));
        AT(sure, k) = (unsigned char)search(&one, free, reml, PART(found, k * MOVED, MOVED), PART(ended, k, 1));
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_visits(&one);
    release_arrays(a, END);
    return result;
}
