/* Twin of simtrial/kernels/ratio_search.py, and of ratio_survey.py, for the trials whose minimum is certain at once:
   one convex stretch at most, in which Newton steps converge. What is not certain is handed back. */
#include "kernels.h"
#include "logarithm.h"
#include "random_intercept_criterion.h"

#include <math.h>
#include <stdlib.h>

#define STEP 0.27
#define ITERATIONS 80
#define CLOSE 1e-6
#define MARGIN 1e-4

/* What the grid says of the trials of a tile, by node; and room for one trial's cells. */
typedef struct {
    int nodes;
    double shift;
    const double *t; /* (nodes) */
    lanes *value, *rss, *d;
    double *fourth, *curved, *x;
    unsigned char *open;
} grid;

typedef struct {
    lanes low, high, start, zero;
    int certain[LANES], holds[LANES]; /* one stretch or none is open; a minimum inside is to be sought */
} stretches;

static double of_logarithm_4(double x) { return x * (1.0 + x * (7.0 + x * (12.0 + 6.0 * x))); }

static double larger(double a, double b) { return a > b ? a : b; }
static double smaller(double a, double b) { return a < b ? a : b; }

/* Cells of one trial that may hold a minimum; 1 where these are one convex stretch at most and none may lie beyond. */
static int survey(grid *g, int l, double nu, double beyond_least) {
    int n = g->nodes, cells = n - 1, stretches = 0, certain = 1;
    double h = STEP, grown = STEP / -expm1(-STEP), least = g->value[1][l];
    for (int k = 2; k < n; k++) least = smaller(least, g->value[k][l]);
    for (int k = 1; k < n - 1; k++) {
        double bend = (g->d[k + 1][l] - 2.0 * g->d[k][l] + g->d[k - 1][l]) / (h * h);
        g->curved[k] = (g->value[k + 1][l] - 2.0 * g->value[k][l] + g->value[k - 1][l]) / (h * h);
        g->fourth[k] = bend;
    }
    for (int k = 0; k < cells; k++) g->x[k] = grown / h * larger(g->rss[k][l] - g->rss[k + 1][l], 0.0) / g->rss[k + 1][l];
    g->open[0] = g->open[cells - 1] = 0;
    for (int k = 1; k < cells - 1; k++) { /* the cell from node k to node k + 1 */
        double x = larger(larger(g->x[k - 1], g->x[k]), g->x[k + 1]);
        double fourth = grown * grown * larger(larger(g->fourth[k], g->fourth[k + 1]), 0.0) + nu * of_logarithm_4(x);
        double doubt = 5.0 / 24.0 * (h * h) * fourth, left = g->curved[k], right = g->curved[k + 1];
        double most = larger(fabs(left), fabs(right)) + doubt, f0 = g->value[k][l], f1 = g->value[k + 1][l];
        int sloped = fabs(f1 - f0) > 0.5 * (h * h) * most;
        int above = smaller(f0, f1) - h * h / 8.0 * most > least;
        int convex = smaller(left, right) > doubt;
        g->open[k] = (unsigned char)!(sloped || above);
        if (g->open[k]) certain &= convex && isfinite(f0) && isfinite(f1);
        stretches += g->open[k] && !g->open[k - 1];
    }
    double inside = g->value[1][l];
    for (int k = 2; k < n - 1; k++) inside = smaller(inside, g->value[k][l]);
    return certain && stretches <= 1 && beyond_least > inside;
}

/* Where the open cells of one trial begin and end, and the minimum of a quartic through five nodes as a start. */
static void stretch(const grid *g, int l, stretches *s) {
    int first = 0, last = g->nodes - 1, lowest;
    while (!g->open[first]) first++;
    while (!g->open[last - 1]) last--;
    lowest = first;
    for (int k = first; k <= last; k++)
        if (g->value[k][l] < g->value[lowest][l]) lowest = k;
    int middle = lowest < 2 ? 2 : lowest > g->nodes - 3 ? g->nodes - 3 : lowest;
    double a = g->value[middle - 2][l], b = g->value[middle - 1][l], c = g->value[middle][l];
    double d = g->value[middle + 1][l], e = g->value[middle + 2][l];
    double one = (a - 8.0 * b + 8.0 * d - e) / 12.0, two = (-a + 16.0 * b - 30.0 * c + 16.0 * d - e) / 12.0;
    double three = (e - 2.0 * d + 2.0 * b - a) / 2.0, four = a - 4.0 * b + 6.0 * c - 4.0 * d + e, at = lowest - middle;
    for (int k = 0; k < 4; k++) {
        double slope = one + at * (two + at * (three / 2.0 + at * four / 6.0));
        at -= slope / (two + at * (three + at * four / 2.0));
    }
    double start = AT(g->t, middle) + STEP * at, low = AT(g->t, first), high = AT(g->t, last);
    if (!(start > low && start < high)) start = smaller(larger(AT(g->t, lowest), low + 0.05), high - 0.05);
    s->low[l] = low, s->high[l] = high, s->start[l] = start;
}

/* One step of Newton, or instead of it the end that it would pass, or bisection after that; whether it is Newton's. */
static int step(double t, double slope, double curvature, double low, double high, double first, double last, double *to) {
    double by = slope / curvature;
    by = by > 1.5 ? 1.5 : by < -1.5 ? -1.5 : by;
    double at = t - by;
    if (curvature > 0.0 && at >= low && at <= high) {
        *to = at;
        return 1;
    }
    int fresh = curvature > 0.0 && (slope > 0.0 ? low == first : high == last);
    *to = fresh ? (slope > 0.0 ? low : high) : 0.5 * (low + high);
    return 0;
}

/* A short step corrected for the change of curvature since the point before (Halley). */
static double bent(double t, double slope, double curvature, double t0, double curvature0, double low, double high,
                   double plain) {
    double third = (curvature - curvature0) / (t - t0);
    double at = t - slope / (curvature + 0.5 * (plain - t) * third);
    int usable = fabs(plain - t) < 0.05 && fabs(at - plain) < 0.1 * fabs(plain - t) && at >= low && at <= high;
    return usable ? at : plain;
}

/* Refine the stretches of a tile; gamma, and whether each is certain. */
static void refine(tile *one, const stretches *s, double shift, const lanes *nu, int reml, lanes *gamma, int *sure) {
    lanes t, low, high, before_t, before_curvature, at_gamma, u;
    int done[LANES], left = 0;
    evaluation at;
    EACH(l) {
        done[l] = !s->holds[l], left += s->holds[l];
        t[l] = s->holds[l] ? s->start[l] : log(shift), low[l] = s->low[l] - MARGIN, high[l] = s->high[l] + MARGIN;
        (*gamma)[l] = 0.0, sure[l] = s->certain[l] && (s->holds[l] || isfinite(s->zero[l]));
    }
    for (int turn = 0; turn < ITERATIONS && left; turn++) {
        int valued = 0; /* whether the value is there, which takes many logarithms */
        EACH(l) u[l] = exp(t[l]);
        at_gamma = u - shift;
        derivatives_tile(one, &at_gamma, nu, reml, &at);
        EACH(l) {
            if (done[l]) continue;
            if (at.slope[l] > 0.0) high[l] = t[l];
            else low[l] = t[l];
            double slope = u[l] * at.slope[l], curvature = u[l] * u[l] * at.curvature[l] + u[l] * at.slope[l], to;
            int inside = step(t[l], slope, curvature, low[l], high[l], s->low[l] - MARGIN, s->high[l] + MARGIN, &to);
            if (turn && inside) to = bent(t[l], slope, curvature, before_t[l], before_curvature[l], low[l], high[l], to);
            if (fabs(to - t[l]) <= CLOSE) {
                if (inside && !valued) add_value(one, nu, reml, &at), valued = 1;
                double value = inside ? 2.0 * at.value[l] : INFINITY;
                if (value < s->zero[l]) (*gamma)[l] = larger(exp(to) - shift, 0.0);
                sure[l] = isfinite(value) || isfinite(s->zero[l]);
                done[l] = 1, left--;
            }
            before_t[l] = t[l], before_curvature[l] = curvature, t[l] = to;
        }
    }
    EACH(l) if (!done[l]) sure[l] = 0;
}

/* The whole search on one tile, and the criterion where it ends. */
VECTORISED
static void search(tile *one, grid *g, const gammas *points, Py_ssize_t from, const lanes *nu, int reml, lanes *gamma,
                   int *sure, evaluation *at) {
    stretches s = {0};
    lanes rss, logs, determinant, nothing = {0};
    int n = g->nodes, near = 0, first_open[LANES] = {0}, some[LANES] = {0};
    for (int k = 0; k < n; k++) {
        grid_parts_tile(one, points, k, from, &g->rss[k], &logs, &determinant);
        g->d[k] = reml ? logs + determinant : logs;
        g->value[k] = *nu * logarithm(g->rss[k]) + g->d[k];
    }
    grid_parts_tile(one, points, n, from, &rss, &logs, &determinant);
    lanes far = *nu * logarithm(rss) + g->d[n - 2];
    EACH(l) {
        s.certain[l] = survey(g, l, (*nu)[l], far[l]);
        if (!s.certain[l]) continue;
        for (int k = 0; k < n - 1; k++) some[l] |= g->open[k];
        if (some[l]) stretch(g, l, &s);
        first_open[l] = g->open[1], near |= first_open[l];
    }
    if (near) derivatives_tile(one, &nothing, nu, reml, at); /* f'(0) decides whether 0 is a minimum */
    EACH(l) {
        int rises = !first_open[l] || at->slope[l] >= 0.0;
        s.zero[l] = rises ? g->value[1][l] : INFINITY;
        s.holds[l] = some[l] && !(rises && first_open[l]);
    }
    refine(one, &s, g->shift, nu, reml, gamma, sure);
    derivatives_tile(one, gamma, nu, reml, at);
    add_value(one, nu, reml, at);
}

static int make_grid(grid *g, const array *nodes, double shift) {
    Py_ssize_t n = nodes->shape[0];
    double *room = room_for(3 * n * LANES + 4 * n, 1);
    *g = (grid){.nodes = (int)n, .shift = shift, .t = nodes->at, .value = (lanes *)room};
    if (room == NULL) return 0;
    g->rss = g->value + n, g->d = g->rss + n;
    g->fourth = (double *)(g->d + n), g->curved = g->fourth + n, g->x = g->curved + n;
    g->open = (unsigned char *)(g->x + n);
    return 1;
}

enum { NU = 4, GRID, NODES, OF_X, GAMMA, SURE, AT_ZERO, OUTPUTS, ARRAYS = OUTPUTS + EVALUATED };

static void search_all(tile *one, grid *g, const gammas *points, const size_sums *sums, const array *a, int reml) {
    double *gamma = a[GAMMA].at, *at_zero = a[AT_ZERO].at;
    unsigned char *sure = a[SURE].at;
    for (Py_ssize_t from = 0; from < sums->trials; from += LANES) {
        int filled = sums->trials - from < LANES ? (int)(sums->trials - from) : LANES, certain[LANES];
        lanes nu = load(PART((const double *)a[NU].at, from, filled), filled), found;
        evaluation at;
        load_tile(one, sums, from, filled);
        search(one, g, points, from, &nu, reml, &found, certain, &at);
        store(PART(gamma, from, filled), found, filled);
        store(PART(at_zero, from, filled), g->rss[1], filled);
        store_evaluation(one, &at, a + OUTPUTS, sums->trials, from, filled);
        for (int l = 0; l < filled; l++) AT(sure, from + l) = (unsigned char)certain[l];
    }
}

/* The grid and its nodes, and room for what X decides there or none. */
static int take_grid(array *a, const size_sums *sums, PyObject *const *given) {
    a[GRID].dimensions = a[NODES].dimensions = 1, a[OF_X].dimensions = 4;
    a[GRID].shape[0] = a[NODES].shape[0] = -1;
    for (int k = 0; k < 4; k++) a[OF_X].shape[k] = -1;
    if (!take_arrays(a + GRID, 2, given) || !take_array(&a[OF_X], given[3])) return 0;
    if (a[NODES].shape[0] < 5 || a[NODES].shape[0] > 100000 || a[GRID].shape[0] != a[NODES].shape[0] + 1) {
        PyErr_SetString(PyExc_ValueError, "grid, nodes: at least five nodes, and one gamma for each and one beyond");
        return 0;
    }
    const Py_ssize_t *kept = a[OF_X].shape;
    if (kept[0] != 0 && (kept[0] != (sums->trials + LANES - 1) / LANES || kept[1] != a[GRID].shape[0] ||
                         kept[2] != kept_of_x(sums->regressors) || kept[3] != LANES)) {
        PyErr_SetString(PyExc_ValueError, "of_x: entries are wanted for each tile of trials, gamma and number, or none");
        return 0;
    }
    return 1;
}

PyObject *core_lowest(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    array a[] = {SIZE_SUMS, IN("nu", FLOATS), IN("grid", FLOATS), IN("nodes", FLOATS), OUT("of_x", FLOATS),
                 OUT("gamma", FLOATS), OUT("sure", BOOLS), OUT("at_zero", FLOATS), EVALUATION};
    size_sums sums;
    tile one = {0};
    grid g = {0};
    gammas points = {0};
    PyObject *result = NULL;
    if (number != ARRAYS + 3) return PyErr_Format(PyExc_TypeError, "lowest takes %d arguments", ARRAYS + 3), NULL;
    int reml = PyObject_IsTrue(given[5]), is_known = PyObject_IsTrue(given[10]);
    double shift = PyFloat_AsDouble(given[8]);
    if (PyErr_Occurred()) return NULL;
    if (!take_sums(&sums, a, given)) goto end;
    for (int k = NU; k < OUTPUTS; k++) a[k].dimensions = 1, a[k].shape[0] = sums.trials;
    if (!take_array(&a[NU], given[4]) || !take_grid(a, &sums, given + 6)) goto end;
    if (!take_arrays(a + GAMMA, OUTPUTS - GAMMA, given + 11)) goto end;
    if (!take_evaluation(a + OUTPUTS, &sums, given + 11 + OUTPUTS - GAMMA)) goto end;
    if (!make_tile(&one, &sums) || !make_grid(&g, &a[NODES], shift) || !make_gammas(&points, &a[GRID], &sums)) goto end;
    points.of_x = a[OF_X].shape[0] ? a[OF_X].at : NULL, points.is_known = is_known;
    Py_BEGIN_ALLOW_THREADS
    search_all(&one, &g, &points, &sums, a, reml);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_tile(&one);
    free(g.value);
    free(points.of_sizes);
    release_arrays(a, ARRAYS);
    return result;
}
