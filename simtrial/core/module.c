/* The extension module simtrial._core: one function for each kernel, defined in the file of its name. */
#include "kernels.h"

#define FUNCTION(name) {#name, (PyCFunction)(void (*)(void))core_##name, METH_FASTCALL, NULL}

static PyMethodDef FUNCTIONS[] = {
    FUNCTION(lowest),
    FUNCTION(evaluate),
    FUNCTION(grid_parts),
    FUNCTION(conditional),
    FUNCTION(one_sweep),
    FUNCTION(difference),
    FUNCTION(refit),
    FUNCTION(interval),
    FUNCTION(expected_information),
    FUNCTION(slot_products),
    FUNCTION(leverage),
    FUNCTION(by_cluster),
    FUNCTION(products_by),
    FUNCTION(minimise),
    FUNCTION(invert),
    FUNCTION(evaluate_visits),
    FUNCTION(curvature_of_visits),
    FUNCTION(values_of_visits),
    FUNCTION(minimise_visits),
    FUNCTION(values_of_arms),
    FUNCTION(minimise_arms),
    {NULL, NULL, 0, NULL},
};

static int begin(PyObject *module) { return PyModule_AddIntConstant(module, "VERSION", 2); }

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, begin}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "simtrial._core", "Kernels of simtrial, compiled.", 0, FUNCTIONS, SLOTS, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&MODULE); }
