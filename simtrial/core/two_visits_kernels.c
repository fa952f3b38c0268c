/* What Python calls of the criterion of the two-visit model; formulas in two_visits_criterion.c. */
#include "kernels.h"
#include "two_visits_criterion.h"

enum { E = VISIT_SUMS_END, ROOT };

/* The matrix (2, 2, trials) of one trial, without the entry below the diagonal. */
static symmetric matrix_of(const array *a, Py_ssize_t trials, Py_ssize_t trial) {
    const double *at = a->at;
    return (symmetric){AT(at, trial), AT(at, trials + trial), AT(at, 3 * trials + trial)};
}

static void put(array *a, Py_ssize_t first, Py_ssize_t trials, Py_ssize_t trial, symmetric matrix) {
    double *to = a->at;
    Py_ssize_t at = 4 * first * trials + trial;
    AT(to, at) = matrix.m00;
    AT(to, at + trials) = AT(to, at + 2 * trials) = matrix.m01;
    AT(to, at + 3 * trials) = matrix.m11;
}

/* Entries 00, 01, 11 of practices to a matrix (2, 2, trials, positions), and back. */
static void put_practices(array *a, const visits *one, Py_ssize_t trials, Py_ssize_t trial, const double *three) {
    static const int entry[] = {0, 1, 1, 2};
    size_t length = sizeof(double) * (size_t)one->positions;
    for (Py_ssize_t m = 0; m < 4; m++)
        memcpy(PART((double *)a->at, (m * trials + trial) * one->positions, one->positions),
               three + entry[m] * one->practices, length);
}

static void get_practices(const array *a, const visits *one, Py_ssize_t trials, Py_ssize_t trial, double *three) {
    static const int entry[] = {0, 1, 3};
    size_t length = sizeof(double) * (size_t)one->positions;
    for (Py_ssize_t m = 0; m < 3; m++)
        memcpy(three + m * one->practices,
               PART((const double *)a->at, (entry[m] * trials + trial) * one->positions, one->positions), length);
}

/* Shapes of (2, 2, ...) arrays of trials. */
static void expect_matrices(array *a, const visit_sums *sums, int dimensions) {
    a->dimensions = dimensions;
    a->shape[0] = a->shape[1] = 2, a->shape[2] = sums->trials, a->shape[3] = sums->positions;
}

enum { VALUE = ROOT + 1, SLOPES, INVERSE, COEFFICIENTS, LOG_DETERMINANT, REST, S, K, EVALUATED };

static void evaluate_all(visits *one, const visit_sums *sums, array *a, int reml) {
    Py_ssize_t trials = sums->trials, p = sums->regressors;
    double *inverse = a[INVERSE].at, *coefficients = a[COEFFICIENTS].at;
    for (Py_ssize_t t = 0; t < trials; t++) {
        visit_evaluation at;
        load_visits(one, sums, t);
        evaluate_visits(one, matrix_of(&a[E], trials, t), matrix_of(&a[ROOT], trials, t), reml, &at);
        AT((double *)a[VALUE].at, t) = at.value, AT((double *)a[LOG_DETERMINANT].at, t) = at.log_determinant;
        put(&a[SLOPES], 0, trials, t, at.by_e), put(&a[SLOPES], 1, trials, t, at.by_u), put(&a[REST], 0, trials, t, at.rest);
        put_practices(&a[S], one, trials, t, one->s), put_practices(&a[K], one, trials, t, one->k);
        for (Py_ssize_t i = 0; i < p; i++) {
            AT(coefficients, i * trials + t) = one->gram[i * one->width + p];
            for (Py_ssize_t j = 0; j < p; j++) AT(inverse, (i * p + j) * trials + t) = one->gram[i * one->width + j];
        }
    }
}

PyObject *core_evaluate_visits(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    array a[] = {VISIT_SUMS, IN("e", FLOATS), IN("root", FLOATS), OUT("value", FLOATS), OUT("slopes", FLOATS),
                 OUT("inverse", FLOATS), OUT("coefficients", FLOATS), OUT("log_determinant", FLOATS),
                 OUT("rest", FLOATS), OUT("s", FLOATS), OUT("k", FLOATS)};
    visit_sums sums;
    visits one = {0};
    PyObject *result = NULL;
    if (number != EVALUATED + 1) return PyErr_Format(PyExc_TypeError, "evaluate_visits takes %d arguments", EVALUATED + 1), NULL;
    int reml = PyObject_IsTrue(given[VALUE]);
    if (reml < 0) return NULL;
    if (!take_visit_sums(&sums, a, given)) goto end;
    for (int k = VALUE; k < EVALUATED; k++) {
        a[k].dimensions = k == INVERSE ? 3 : k == COEFFICIENTS ? 2 : 1;
        for (int i = 0; i < 3; i++) a[k].shape[i] = i + 1 < a[k].dimensions ? sums.regressors : sums.trials;
    }
    expect_matrices(&a[E], &sums, 3), expect_matrices(&a[ROOT], &sums, 3), expect_matrices(&a[REST], &sums, 3);
    expect_matrices(&a[S], &sums, 4), expect_matrices(&a[K], &sums, 4);
    a[SLOPES].dimensions = 4, a[SLOPES].shape[0] = a[SLOPES].shape[1] = a[SLOPES].shape[2] = 2, a[SLOPES].shape[3] = sums.trials;
    if (!take_arrays(a + E, 2, given + E) || !take_arrays(a + VALUE, EVALUATED - VALUE, given + VALUE + 1)) goto end;
    if (!make_visits(&one, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    evaluate_all(&one, &sums, a, reml);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_visits(&one);
    release_arrays(a, EVALUATED);
    return result;
}

PyObject *core_curvature_of_visits(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { S_GIVEN = E + 1, K_GIVEN, CURVATURE, END };
    array a[] = {VISIT_SUMS, IN("e", FLOATS), IN("s", FLOATS), IN("k", FLOATS), OUT("curvature", FLOATS)};
    visit_sums sums;
    visits one = {0};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "curvature_of_visits takes %d arguments", END), NULL;
    if (!take_visit_sums(&sums, a, given)) goto end;
    expect_matrices(&a[E], &sums, 3), expect_matrices(&a[S_GIVEN], &sums, 4), expect_matrices(&a[K_GIVEN], &sums, 4);
    a[CURVATURE].dimensions = 3, a[CURVATURE].shape[0] = sums.trials, a[CURVATURE].shape[1] = a[CURVATURE].shape[2] = 6;
    if (!take_arrays(a + E, END - E, given + E) || !make_visits(&one, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t t = 0; t < sums.trials; t++) {
        load_visits(&one, &sums, t);
        get_practices(&a[S_GIVEN], &one, sums.trials, t, one.s), get_practices(&a[K_GIVEN], &one, sums.trials, t, one.k);
        curvature_of_visits(&one, matrix_of(&a[E], sums.trials, t), PART((double *)a[CURVATURE].at, 36 * t, 36));
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_visits(&one);
    release_arrays(a, END);
    return result;
}

PyObject *core_values_of_visits(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { X = VISIT_SUMS_END, VALUES, END }; /* reml stands before VALUES */
    array a[] = {VISIT_SUMS, {.name = "x", .dimensions = 3, .shape = {-1, -1, 6}},
                 {.name = "values", .writable = 1, .dimensions = 2, .shape = {-1, -1}}};
    visit_sums sums;
    visits one = {0};
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "values_of_visits takes %d arguments", END + 1), NULL;
    int reml = PyObject_IsTrue(given[VALUES]);
    if (reml < 0) return NULL;
    if (!take_visit_sums(&sums, a, given)) goto end;
    a[X].shape[1] = a[VALUES].shape[1] = sums.trials;
    if (!take_array(&a[X], given[X])) goto end;
    a[VALUES].shape[0] = a[X].shape[0];
    if (!take_array(&a[VALUES], given[VALUES + 1]) || !make_visits(&one, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t t = 0; t < sums.trials; t++) {
        load_visits(&one, &sums, t);
        for (Py_ssize_t k = 0; k < a[X].shape[0]; k++) {
            const double *x = PART((const double *)a[X].at, (k * sums.trials + t) * 6, 6);
            symmetric root = {x[0], x[1], x[2]}, of_practices = {x[3], x[4], x[5]};
            AT((double *)a[VALUES].at, k * sums.trials + t) = value_of_visits(&one, squared(root), of_practices, reml);
        }
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_visits(&one);
    release_arrays(a, END);
    return result;
}
