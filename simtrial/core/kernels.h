/* Every kernel that Python calls. */
#ifndef SIMTRIAL_KERNELS_H
#define SIMTRIAL_KERNELS_H

#include "arrays.h"

#define KERNEL(name) PyObject *core_##name(PyObject *self, PyObject *const *given, Py_ssize_t number)

KERNEL(one_sweep);

#endif
