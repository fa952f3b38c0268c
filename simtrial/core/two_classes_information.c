/* Information of a mixture of two classes, person by person: see the head of simtrial/kernels/two_classes.py. */
#include "two_classes.h"

/* Variance over classes of a person's score: that of the two classes differs by a + b v; upper triangle. */
void add_doubt(const classes *w, const parameters *now, Py_ssize_t row, Py_ssize_t i, const double *m, double *missing) {
    Py_ssize_t p = w->p, size = w->size;
    const double *one = PART(w->first, row * p, p), *other = PART(w->other, row * p, p);
    const double *z = PART(w->predictors, row * w->q, w->q);
    double apart = (w->one[i] - w->two[i]) / now->square;
    for (Py_ssize_t c = 0; c < p; c++) {
        w->a[c] = (one[c] * w->one[i] - other[c] * w->two[i]) / now->square;
        w->b[c] = (other[c] - one[c]) * (now->tau / now->square);
    }
    w->a[p] = 0.0, w->b[p] = apart;
    w->a[p + 1] = apart * (w->one[i] + w->two[i]), w->b[p + 1] = -2.0 * now->tau * apart;
    for (Py_ssize_t c = 0; c < w->q; c++) w->a[p + 2 + c] = z[c], w->b[p + 2 + c] = 0.0;
    for (Py_ssize_t c = 0; c < size; c++) {
        double ahead = m[0] * w->a[c] + m[1] * w->b[c], behind = m[1] * w->a[c] + m[2] * w->b[c];
        for (Py_ssize_t d = c; d < size; d++) missing[c * size + d] += ahead * w->a[d] + behind * w->b[d];
    }
}

/* A person's part of the complete-data information, but for log sigma; upper triangle. */
void add_complete(const classes *w, const parameters *now, Py_ssize_t row, Py_ssize_t i, const double *e,
                  double *complete) {
    Py_ssize_t p = w->p, size = w->size;
    const double *one = PART(w->first, row * p, p), *other = PART(w->other, row * p, p);
    const double *z = PART(w->predictors, row * w->q, w->q);
    double inverse = 1.0 / now->square, spread = w->prior[i] * (1.0 - w->prior[i]);
    for (Py_ssize_t c = 0; c < p; c++) {
        double in_one = e[0] * inverse * one[c], in_other = (1.0 - e[0]) * inverse * other[c];
        for (Py_ssize_t d = c; d < p; d++) complete[c * size + d] += in_one * one[d] + in_other * other[d];
        complete[c * size + p] += e[1] * inverse * one[c] + (e[2] - e[1]) * inverse * other[c];
    }
    complete[p * size + p] += e[3] * inverse;
    for (Py_ssize_t c = 0; c < w->q; c++)
        for (Py_ssize_t d = c; d < w->q; d++) complete[(p + 2 + c) * size + p + 2 + d] += spread * z[c] * z[d];
}

void finish(const classes *w) {
    Py_ssize_t size = w->size, p = w->p;
    for (Py_ssize_t t = 0; t < w->trials; t++) {
        double *complete = PART(w->complete, t * size * size, size * size);
        double *missing = PART(w->missing, t * size * size, size * size);
        const double *score = PART(w->score, t * size, size);
        for (Py_ssize_t c = 0; c <= p; c++) complete[c * size + p + 1] = 2.0 * score[c];
        complete[(p + 1) * size + p + 1] += 2.0 * score[p + 1];
        for (Py_ssize_t c = 0; c < size; c++)
            for (Py_ssize_t d = 0; d < c; d++)
                complete[c * size + d] = complete[d * size + c], missing[c * size + d] = missing[d * size + c];
    }
}
