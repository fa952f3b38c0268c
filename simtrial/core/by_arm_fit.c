/* Twin of `_newton` in simtrial/kernels/by_arm_fit.py, and of the values on the grid of by_arm_starts.py. Ends that are
   not certain, flat ones and those where an arm leaves little, are handed back. */
#include "by_arm_criterion.h"
#include "kernels.h"
#include "newton_step.h"

#define STEPS 80
#define CLOSE 1e-11
#define ROUNDING 1e-12
#define FLAT 1e-6
#define LONGEST 1.5
#define BENT 1e-4  /* least eigenvalue of the second derivatives, as a share of the largest, at which an end is certain */
#define LITTLE 1e-3 /* residual variance of an arm, as a share of the whole */
#define STEEP 1e3  /* variance between over that within practices, times the people of the largest */
#define MOST 4

/* What is moved: `count` logarithms of residual variances, then practice variances, in units of `scale`. */
typedef struct {
    int moved, count;
    const double *tied; /* (4, moved) */
} parameters;

typedef struct {
    double x[MOST], value, slope[MOST], curvature[MOST * MOST], length;
} state;

static void theta_of(const parameters *of, const double *x, double scale, double *phi, double *theta) {
    for (int k = 0; k < of->moved; k++) phi[k] = (k < of->count ? exp(x[k]) : x[k]) * scale;
    for (int a = 0; a < 4; a++) {
        theta[a] = 0.0;
        for (int k = 0; k < of->moved; k++) theta[a] += of->tied[a * of->moved + k] * phi[k];
    }
}

/* As `_state`: the criterion at x with its derivatives by x. */
static void evaluate_at(arms *one, const parameters *of, double scale, int reml, state *at) {
    int n = of->moved;
    double phi[MOST], theta[4], rate[MOST];
    arm_evaluation there;
    theta_of(of, at->x, scale, phi, theta);
    evaluate_arms(one, theta, reml, &there);
    at->value = there.value, at->length = 1.0;
    for (int k = 0; k < n; k++) rate[k] = k < of->count ? phi[k] : scale;
    for (int k = 0; k < n; k++) {
        double slope = 0.0;
        for (int a = 0; a < 4; a++) slope += of->tied[a * n + k] * there.slope[a];
        at->slope[k] = slope * rate[k];
        for (int l = 0; l < n; l++) {
            double sum = 0.0;
            for (int a = 0; a < 4; a++)
                for (int b = 0; b < 4; b++) sum += of->tied[a * n + k] * there.curvature[a][b] * of->tied[b * n + l];
            at->curvature[k * n + l] = sum * rate[k] * rate[l];
        }
        if (k < of->count) at->curvature[k * n + k] += at->slope[k]; /* log s bends */
    }
}

/* As `_step`: Newton step and the decrease it promises, NaN where derivatives cannot be computed. */
static double step_of(const state *at, const parameters *of, const unsigned char *held, double *step, double *promised) {
    int n = of->moved, is_free[MOST];
    double model[MOST * MOST], slope[MOST], longest = 0.0, sizes = 0.0;
    for (int k = 0; k < n; k++) is_free[k] = !(held[k] || (k >= of->count && at->x[k] == 0.0 && at->slope[k] >= 0.0));
    for (int k = 0; k < n; k++) {
        slope[k] = is_free[k] ? at->slope[k] : 0.0;
        for (int l = 0; l < n; l++) {
            model[k * n + l] = is_free[k] && is_free[l] ? at->curvature[k * n + l] : k == l;
            sizes += fabs(model[k * n + l]);
        }
        sizes += fabs(slope[k]), step[k] = 0.0;
    }
    *promised = NAN;
    if (!isfinite(sizes)) return 0.0;
    double share = newton_step(model, slope, n, FLAT, step, promised);
    for (int k = 0; k < n; k++) {
        step[k] = is_free[k] ? step[k] : 0.0;
        if (k < of->count && fabs(step[k]) > longest) longest = fabs(step[k]);
    }
    if (longest > LONGEST)
        for (int k = 0; k < n; k++) step[k] *= LONGEST / longest;
    return share;
}

/* Take a step; practice variances stop at 0. */
static void move(const parameters *of, const double *x, double length, const double *step, double *to) {
    for (int k = 0; k < of->moved; k++) {
        to[k] = x[k] + length * step[k];
        if (k >= of->count && !(to[k] > 0.0)) to[k] = 0.0;
    }
}

static int is_round(const arms *one, const parameters *of, const double *x) {
    double phi[MOST], theta[4], people = 1.0;
    theta_of(of, x, 1.0, phi, theta);
    for (Py_ssize_t k = 0; k < 2 * one->slots; k++)
        if (one->counts[k] > 0.0 && one->sizes[k] > people) people = one->sizes[k];
    for (int arm = 0; arm < 2; arm++)
        if (!(theta[arm] > LITTLE && theta[2 + arm] * people < STEEP * theta[arm])) return 0;
    return 1;
}

/* From one start to its end, put in place of it; whether that is certain. */
static int search(arms *one, const parameters *of, const unsigned char *held, double scale, int reml, double *x, double *ended) {
    state at, there;
    double step[MOST], promised;
    memcpy(at.x, x, sizeof(double) * (size_t)of->moved);
    evaluate_at(one, of, scale, reml, &at);
    for (int turn = 0; turn < STEPS; turn++) {
        double share = step_of(&at, of, held, step, &promised);
        if (promised < CLOSE) {
            move(of, at.x, 1.0, step, x);
            *ended = at.value;
            return share > BENT && isfinite(at.value) && is_round(one, of, x);
        }
        if (!isfinite(promised)) return 0;
        for (int k = 0; k < of->count; k++)
            if (at.x[k] < log(1e-9)) return 0; /* an arm fitted perfectly */
        move(of, at.x, at.length, step, there.x);
        evaluate_at(one, of, scale, reml, &there);
        if (there.value <= at.value + ROUNDING * (1.0 + fabs(at.value))) at = there;
        else at.length *= 0.3;
    }
    return 0;
}

static void search_all(arms *one, const arm_sums *sums, const parameters *of, const array *a, const int *at, int reml) {
    const int64_t *trial = a[at[0]].at;
    const double *start = a[at[1]].at, *scale = a[at[2]].at;
    const unsigned char *held = a[at[3]].at;
    double *found = a[at[4]].at, *ended = a[at[5]].at, x[MOST];
    unsigned char *sure = a[at[6]].at, own[MOST];
    Py_ssize_t starts = a[at[0]].shape[0];
    for (Py_ssize_t k = 0; k < starts; k++) {
        Py_ssize_t t = AT(trial, k);
        load_arms(one, sums, t);
        for (int i = 0; i < of->moved; i++) x[i] = AT(start, i * starts + k), own[i] = AT(held, i * sums->trials + t);
        AT(sure, k) = (unsigned char)search(one, of, own, AT(scale, t), reml, x, PART(ended, k, 1));
        for (int i = 0; i < of->moved; i++) AT(found, i * starts + k) = x[i];
    }
}

PyObject *core_minimise_arms(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { TIED = ARM_SUMS_END, TRIAL, START, SCALE, HELD, FOUND, ENDED, SURE, END }; /* count, reml stand before TRIAL */
    static const int order[] = {TRIAL, START, SCALE, HELD, FOUND, ENDED, SURE};
    array a[] = {ARM_SUMS, IN("tied", FLOATS), IN("trial", INTS), IN("start", FLOATS), IN("scale", FLOATS),
                 IN("held", BOOLS), OUT("found", FLOATS), OUT("ended", FLOATS), OUT("sure", BOOLS)};
    arm_sums sums;
    arms one = {0};
    PyObject *result = NULL;
    if (number != END + 2) return PyErr_Format(PyExc_TypeError, "minimise_arms takes %d arguments", END + 2), NULL;
    Py_ssize_t count = PyLong_AsSsize_t(given[TRIAL]);
    int reml = PyObject_IsTrue(given[TRIAL + 1]);
    if (reml < 0 || (count == -1 && PyErr_Occurred())) return NULL;
    if (!take_arm_sums(&sums, a, given)) goto end;
    a[TIED].dimensions = 2, a[TIED].shape[0] = 4, a[TIED].shape[1] = -1, a[TRIAL].dimensions = 1, a[TRIAL].shape[0] = -1;
    if (!take_array(&a[TIED], given[TIED]) || !take_array(&a[TRIAL], given[TRIAL + 2])) goto end;
    Py_ssize_t moved = a[TIED].shape[1], starts = a[TRIAL].shape[0];
    if (moved < 1 || moved > MOST || count < 0 || count > moved) {
        PyErr_SetString(PyExc_ValueError, "tied, count: at most four parameters are wanted, and as many residual ones");
        goto end;
    }
    if (!are_places(&a[TRIAL], sums.trials)) goto end;
    for (int k = START; k < END; k++) {
        a[k].dimensions = k == START || k == HELD || k == FOUND ? 2 : 1;
        a[k].shape[0] = a[k].dimensions == 2 ? moved : k == SCALE ? sums.trials : starts;
        a[k].shape[1] = k == HELD ? sums.trials : starts;
    }
    if (!take_arrays(a + START, END - START, given + START + 2) || !make_arms(&one, &sums)) goto end;
    parameters of = {.moved = (int)moved, .count = (int)count, .tied = a[TIED].at};
    Py_BEGIN_ALLOW_THREADS
    search_all(&one, &sums, &of, a, order, reml);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_arms(&one);
    release_arrays(a, END);
    return result;
}

PyObject *core_values_of_arms(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { THETA = ARM_SUMS_END, VALUES, END }; /* reml stands before VALUES */
    array a[] = {ARM_SUMS, {.name = "theta", .dimensions = 3, .shape = {-1, 4, -1}},
                 {.name = "values", .writable = 1, .dimensions = 2, .shape = {-1, -1}}};
    arm_sums sums;
    arms one = {0};
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "values_of_arms takes %d arguments", END + 1), NULL;
    int reml = PyObject_IsTrue(given[VALUES]);
    if (reml < 0) return NULL;
    if (!take_arm_sums(&sums, a, given)) goto end;
    a[THETA].shape[2] = a[VALUES].shape[1] = sums.trials;
    if (!take_array(&a[THETA], given[THETA])) goto end;
    a[VALUES].shape[0] = a[THETA].shape[0];
    if (!take_array(&a[VALUES], given[VALUES + 1]) || !make_arms(&one, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t t = 0; t < sums.trials; t++) {
        load_arms(&one, &sums, t);
        for (Py_ssize_t k = 0; k < a[THETA].shape[0]; k++) {
            double theta[4];
            for (Py_ssize_t i = 0; i < 4; i++) theta[i] = AT((const double *)a[THETA].at, (k * 4 + i) * sums.trials + t);
            AT((double *)a[VALUES].at, k * sums.trials + t) = value_of_arms(&one, theta, reml);
        }
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_arms(&one);
    release_arrays(a, END);
    return result;
}
