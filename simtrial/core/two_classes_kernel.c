/* Arguments of the kernel that simtrial/kernels/two_classes.py calls. */
#include "kernels.h"
#include "two_classes.h"

#include <stdlib.h>

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
    add_classes(&w);
    if (w.derivatives) finish(&w);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}
