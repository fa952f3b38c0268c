/* Step of Newton's method against a slope, the signs of the eigenvalues of the second derivatives made positive. */
#ifndef SIMTRIAL_NEWTON_STEP_H
#define SIMTRIAL_NEWTON_STEP_H

#define MOST_MOVED 6 /* parameters */

/* step = -|A|^-1 slope of n parameters, and slope'|A|^-1 slope; eigenvalues below `flat` times the largest are that.
   Returns a share of the largest eigenvalue above which the least surely is, 0 where it is not positive. */
double newton_step(const double *a, const double *slope, int n, double flat, double *step, double *promised);

#endif
