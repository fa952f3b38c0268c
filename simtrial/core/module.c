/* The extension module simtrial._core: one function for each kernel, defined in the file of its name. */
#include "kernels.h"
#include "lanes.h"

#define FUNCTION(name) {#name, (PyCFunction)(void (*)(void))core_##name, METH_FASTCALL, NULL}

#ifdef CHECKED
/* An entry of the first of two arrays, whatever the place: for a test that a wrong one ends the program. */
static PyObject *core_entry_of(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    array a[] = {{.name = "numbers", .dimensions = 1, .shape = {-1}}, {.name = "others", .dimensions = 1, .shape = {-1}}};
    PyObject *result = NULL;
    if (number != 3) return PyErr_Format(PyExc_TypeError, "_entry_of takes 3 arguments"), NULL;
    Py_ssize_t place = PyLong_AsSsize_t(given[2]);
    if (PyErr_Occurred()) return NULL;
    if (take_arrays(a, 2, given)) {
        const double *numbers = a[0].at;
        result = PyFloat_FromDouble(AT(numbers, place));
    }
    release_arrays(a, 2);
    return result;
}
#endif

static PyMethodDef FUNCTIONS[] = {
    FUNCTION(lowest),
    FUNCTION(evaluate),
    FUNCTION(grid_parts),
    FUNCTION(conditional),
    FUNCTION(imputed_values),
    FUNCTION(one_sweep),
    FUNCTION(difference),
    FUNCTION(refit),
    FUNCTION(interval),
    FUNCTION(expected_information),
    FUNCTION(small_sample),
    FUNCTION(slot_products),
    FUNCTION(without_clusters),
    FUNCTION(sweep),
    FUNCTION(remaining),
    FUNCTION(gram),
    FUNCTION(leverage),
    FUNCTION(leverage_in_bases),
    FUNCTION(variance),
    FUNCTION(variance_in_bases),
    FUNCTION(who_stands_where),
    FUNCTION(centred),
    FUNCTION(bases),
    FUNCTION(minimise),
    FUNCTION(invert),
    FUNCTION(evaluate_visits),
    FUNCTION(curvature_of_visits),
    FUNCTION(values_of_visits),
    FUNCTION(minimise_visits),
    FUNCTION(values_of_arms),
    FUNCTION(minimise_arms),
    FUNCTION(point_of_classes),
    FUNCTION(between_scores),
    FUNCTION(in_random_order),
    FUNCTION(record),
    FUNCTION(with_practices),
    FUNCTION(in_arm),
    FUNCTION(sessions_at),
    FUNCTION(practice_of_people),
    FUNCTION(weighted_sum),
    FUNCTION(with_effect),
    FUNCTION(spared),
    FUNCTION(stays),
    FUNCTION(from_baseline),
    FUNCTION(blanked),
    FUNCTION(record_both),
    FUNCTION(standard_normals),
    FUNCTION(uniforms),
    FUNCTION(check),
#ifdef CHECKED
    {"_entry_of", (PyCFunction)(void (*)(void))core_entry_of, METH_FASTCALL, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

static int begin(PyObject *module) {
    if (PyModule_AddIntConstant(module, "VERSION", 5) < 0) return -1;
    return PyModule_AddIntConstant(module, "LANES", LANES);
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, begin}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "simtrial._core", "Kernels of simtrial, compiled.", 0, FUNCTIONS, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&MODULE); }
