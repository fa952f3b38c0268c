/* Every kernel that Python calls: arguments in the order of its twin's, then the arrays that it fills. */
#ifndef SIMTRIAL_KERNELS_H
#define SIMTRIAL_KERNELS_H

#include "arrays.h"

#define KERNEL(name) PyObject *core_##name(PyObject *self, PyObject *const *given, Py_ssize_t number)

KERNEL(lowest);
KERNEL(evaluate);
KERNEL(grid_parts);
KERNEL(conditional);
KERNEL(one_sweep);
KERNEL(difference);
KERNEL(refit);
KERNEL(interval);
KERNEL(expected_information);
KERNEL(slot_products);
KERNEL(leverage);
KERNEL(by_cluster);
KERNEL(products_by);
KERNEL(minimise);
KERNEL(invert);
KERNEL(evaluate_visits);
KERNEL(curvature_of_visits);
KERNEL(values_of_visits);
KERNEL(minimise_visits);
KERNEL(values_of_arms);
KERNEL(minimise_arms);

#endif
