/* Every kernel that Python calls: arguments in the order of its twin's, then the arrays that it fills. */
#ifndef SIMTRIAL_KERNELS_H
#define SIMTRIAL_KERNELS_H

#include "arrays.h"

#define KERNEL(name) PyObject *core_##name(PyObject *self, PyObject *const *given, Py_ssize_t number)

KERNEL(lowest);
KERNEL(evaluate);
KERNEL(grid_parts);
KERNEL(conditional);
KERNEL(imputed_values);
KERNEL(one_sweep);
KERNEL(difference);
KERNEL(refit);
KERNEL(interval);
KERNEL(expected_information);
KERNEL(small_sample);
KERNEL(slot_products);
KERNEL(without_clusters);
KERNEL(sweep);
KERNEL(remaining);
KERNEL(gram);
KERNEL(leverage);
KERNEL(leverage_in_bases);
KERNEL(variance);
KERNEL(variance_in_bases);
KERNEL(who_stands_where);
KERNEL(centred);
KERNEL(bases);
KERNEL(minimise);
KERNEL(invert);
KERNEL(between_scores);
KERNEL(in_random_order);
KERNEL(record);
KERNEL(with_practices);
KERNEL(in_arm);
KERNEL(sessions_at);
KERNEL(practice_of_people);
KERNEL(weighted_sum);
KERNEL(with_effect);
KERNEL(spared);
KERNEL(stays);
KERNEL(from_baseline);
KERNEL(blanked);
KERNEL(record_both);
KERNEL(standard_normals);
KERNEL(uniforms);
KERNEL(check);
KERNEL(evaluate_visits);
KERNEL(curvature_of_visits);
KERNEL(values_of_visits);
KERNEL(minimise_visits);
KERNEL(values_of_arms);
KERNEL(minimise_arms);
KERNEL(point_of_classes);

#endif
