/* Every kernel that Python calls. */
#ifndef SIMTRIAL_KERNELS_H
#define SIMTRIAL_KERNELS_H

#include "arrays.h"

#endif
