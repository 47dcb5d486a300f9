/* Discrete Fourier transforms and what is made of them: shapes and gradients.
 *
 * All are linear over the real numbers, and the gradient of each is another of them: of fft_ the
 * transform the other way, of rfft_ and irfft_ each other, where frequencies that stand for their
 * conjugates too count once in one and twice in the other (`twice`). */
#include "helpers.h"

static tide_status pair_fits(tide_call *c) {
    const tide_tensor *re = c->in[0], *im = c->in[1];
    if (!tide_same_shape(re, im))
        return tide_op_fail(c, TIDE_ESHAPE, "the parts differ in shape (real %s, imaginary %s)",
                            TIDE_SHAPE_OF(re), TIDE_SHAPE_OF(im));
    return TIDE_OK;
}
static tide_status some_points(tide_call *c, int axis) {
    const tide_tensor *x = c->in[0];
    if (x->rank < 1 || x->shape[axis] < 1)
        return tide_op_fail(c, TIDE_ESHAPE, "no element to transform in %s", TIDE_SHAPE_OF(x));
    return TIDE_OK;
}

/* -- complex numbers -- */
static tide_status fft_infer(tide_call *c) {
    tide_fft__attrs *a = c->attrs;
    TIDE_TRY(pair_fits(c));
    TIDE_TRY(tide_axis(c, &a->axis, c->in[0]->rank));
    TIDE_TRY(some_points(c, (int)a->axis));
    c->meta[0] = c->meta[1] = tide_meta_of(c->in[0]);
    return TIDE_OK;
}
static void fft_grad(tide_tape *t, const tide_node *n) {
    ATTRS(fft_);
    tide_tensor *dy[2] = {tide_t_dy(t, 0), tide_t_dy(t, 1)}, *dx[2] = {0};
    if (!tide_t_failed(t))
        tide_tn(t, OP(fft_, .axis = a->axis, .inverse = !a->inverse, .scale = a->scale), 2, dy, dx);
    for (int i = 0; i < 2; i++) tide_t_give(t, i, dx[i]);
}
TIDE_DESCRIBE(fft_, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE, .infer = fft_infer, .grad = fft_grad);

/* -- real numbers -- */
static tide_status rfft_infer(tide_call *c) {
    const int last = c->in[0]->rank - 1;
    TIDE_TRY(some_points(c, last));
    c->meta[0] = tide_meta_of(c->in[0]);
    c->meta[0].shape[last] = c->in[0]->shape[last] / 2 + 1;
    c->meta[1] = c->meta[0];
    return TIDE_OK;
}
static void rfft_grad(tide_tape *t, const tide_node *n) {
    ATTRS(rfft_);
    const tide_meta *x = tide_t_in_meta(t, 0);
    tide_t_give(
        t, 0,
        tide_t(t, OP(irfft_, .size = x->shape[x->rank - 1], .twice = a->twice, .scale = a->scale),
               tide_t_dy(t, 0), tide_t_dy(t, 1)));
}
TIDE_DESCRIBE(rfft_, .flags = TIDE_CONTIGUOUS, .infer = rfft_infer, .grad = rfft_grad);

static tide_status irfft_infer(tide_call *c) {
    const tide_irfft__attrs *a = c->attrs;
    const int last = c->in[0]->rank - 1;
    TIDE_TRY(pair_fits(c));
    TIDE_TRY(some_points(c, last));
    if (a->size < 1 || a->size > INT32_MAX)
        return tide_op_fail(c, TIDE_EARG, "size must be %s (got %ld)", bound_of(a->size),
                            (long)a->size);
    if (c->in[0]->shape[last] != a->size / 2 + 1)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "%ld numbers have other frequencies (expected %ld of them, got %s)",
                            (long)a->size, (long)(a->size / 2 + 1), TIDE_SHAPE_OF(c->in[0]));
    tide_meta m = tide_meta_of(c->in[0]);
    tide_ints shape = shape_of(&m);
    shape.v[last] = a->size;
    return result_of(c, &shape, c->in[0]->dtype);
}
static void irfft_grad(tide_tape *t, const tide_node *n) {
    ATTRS(irfft_);
    tide_tensor *dy = tide_t_dy(t, 0), *dx[2] = {0};
    if (!tide_t_failed(t)) tide_tn(t, OP(rfft_, .twice = a->twice, .scale = a->scale), 1, &dy, dx);
    for (int i = 0; i < 2; i++) tide_t_give(t, i, dx[i]);
}
TIDE_DESCRIBE(irfft_, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE, .infer = irfft_infer,
              .grad = irfft_grad);

/* -- spectra in bands -- */
enum { LONGEST = 1 << 14, PRIME = 31 }; /* of a frame; the largest factor of half of it */

static int has_passes(int64_t n) {
    for (int64_t f = 2; f <= PRIME; f++)
        while (n % f == 0) n /= f;
    return n == 1;
}
static tide_status mel_infer(tide_call *c) {
    const tide_mel__attrs *a = c->attrs;
    const tide_tensor *x = c->in[0], *w = c->in[1], *m = c->in[2];
    const int64_t n = w->rank == 1 ? w->shape[0] : 0;
    if (n < 2 || n > LONGEST || n % 2 || !has_passes(n / 2))
        return tide_op_fail(c, TIDE_ESHAPE,
                            "the window must have an even length of small factors (expected 2 to "
                            "%d, got %s)",
                            LONGEST, TIDE_SHAPE_OF(w));
    if (m->rank != 2 || m->shape[0] != n / 2 + 1)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "the matrix must have a row per frequency (expected [%ld, bands], got "
                            "%s)",
                            (long)(n / 2 + 1), TIDE_SHAPE_OF(m));
    if (x->rank < 1 || x->shape[x->rank - 1] <= n / 2)
        return tide_op_fail(c, TIDE_ESHAPE,
                            "there are too few samples to mirror (expected more than %ld, got %s)",
                            (long)(n / 2), TIDE_SHAPE_OF(x));
    if (x->rank == TIDE_MAX_RANK)
        return tide_op_fail(c, TIDE_ESHAPE, "x has too many axes (expected %d at most, got %s)",
                            TIDE_MAX_RANK - 1, TIDE_SHAPE_OF(x));
    if (a->step < 1 || a->step > INT32_MAX)
        return tide_op_fail(c, TIDE_EARG, "step must be %s (got %ld)", bound_of(a->step),
                            (long)a->step);
    tide_meta meta = tide_meta_of(x);
    tide_ints shape = shape_of(&meta);
    shape.v[shape.n - 1] = m->shape[1];
    shape.v[shape.n++] = x->shape[x->rank - 1] / a->step + 1;
    return result_of(c, &shape, x->dtype);
}

static void mel_compose(tide_tape *t, const void *attrs, int nin, tide_tensor **in,
                        tide_tensor **out) {
    const tide_mel__attrs *a = attrs;
    tide_tensor *x = in[0], *parts[2] = {0};
    (void)nin;
    const int last = x->rank - 1;
    const int64_t n = in[1]->shape[0], frames = x->shape[last] / a->step + 1;
    tide_pad_attrs margins = *TIDE_ATTRS(pad, .pad_width.n = x->rank, .mode = TIDE_MARGIN_reflect);
    for (int i = 0; i <= last; i++)
        margins.pad_width.v[i][0] = margins.pad_width.v[i][1] = i == last ? n / 2 : 0;
    tide_tensor *starts = tide_t(t, OP(expand_dims, .axis = TIDE_INTS(1)),
                                 tide_t(t,
                                        OP(arange_, .n = frames, .start = 1,
                                           .step = (double)a->step, .dtype = TIDE_I64))),
                *places = tide_t(
                    t, OP(add), starts,
                    tide_t(t, OP(arange_, .n = n, .start = 0, .step = 1, .dtype = TIDE_I64)));
    tide_tensor *framed = tide_t(
        t, OP(multiply),
        tide_t(t, OP(take, .axis = last), tide_t(t, TIDE_OP_pad, &margins, x), places), in[1]);
    if (!tide_t_failed(t)) tide_tn(t, OP(rfft_), 1, &framed, parts);
    tide_tensor *power =
        tide_t(t, OP(add), tide_t(t, OP(square), parts[0]), tide_t(t, OP(square), parts[1]));
    if (a->exponent != 2)
        power = tide_t(t, OP(power), tide_t(t, OP(sqrt), power), number(t, a->exponent, power));
    out[0] = tide_t(t, OP(swapaxes, .axis1 = last, .axis2 = last + 1),
                    tide_t(t, OP(matmul), power, in[2]));
}
TIDE_DESCRIBE(mel_, .flags = TIDE_CONTIGUOUS | TIDE_PROMOTE,
              .saves = TIDE_SAVE_IN(0) | TIDE_SAVE_IN(1) | TIDE_SAVE_IN(2), .infer = mel_infer,
              .compose = mel_compose);
