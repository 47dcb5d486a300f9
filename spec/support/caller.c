/* A caller of the core that is no Lua: what an op's entry declares holds for it too. Prints what is
 * not so, or "ok". Run by spec/core/declared_spec.lua. */
#include "../../src/op.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int bad;
#define CHECK(that) (that) ? 0 : (bad = 1, printf("line %d: %s\n", __LINE__, #that))

static void defaults(void) {
    const struct tide_defaults *d = tide_defaults;
    CHECK(d->adam_step_.beta_2 == 0.999 && d->adam_step_.epsilon == 1e-7);
    CHECK(d->adam_step_.amsgrad == 0 && d->svd_.full == 1);
    CHECK(d->conv.groups == TIDE_NONE && d->conv.pads.n == -1);
    CHECK(d->conv.strides.n == 1 && d->conv.strides.v[0] == 1);
    CHECK(d->conv.padding == TIDE_PADDING_valid);
    CHECK(d->sum.axis.n == -1 && d->sum.dtype == -1 && d->random_randint.dtype == TIDE_I32);
    CHECK(d->softmax.axis.n == 1 && d->softmax.axis.v[0] == -1);
    CHECK(d->concatenate.axis == 0 && d->diagonal.axis2 == 1 && d->take.axis == TIDE_NONE);
    CHECK(isinf(d->relu.max_value) && isnan(d->batch_gather.scale));
    for (int i = 0; i < TIDE_OP_COUNT; i++) {
        const tide_arg *a = tide_ops[i]->args();
        const char *attrs = tide_default_attrs(tide_ops[i]);
        for (int k = 0; k < tide_ops[i]->nargs; k++)
            if (a[k].kind == TIDE_ARG_DTYPE && *a[k].def != '-' && *a[k].def != '!')
                CHECK(*(const int32_t *)(attrs + a[k].offset) >= 0);
    }

    const tide_conv_attrs *c = TIDE_ATTRS(conv, .strides = TIDE_INTS(2, 3), .groups = 4);
    CHECK(c->strides.n == 2 && c->strides.v[1] == 3 && c->groups == 4);
    CHECK(c->dilation_rate.n == 1 && c->dilation_rate.v[0] == 1 && c->pads.n == -1);
    CHECK(d->conv.groups == TIDE_NONE);
    const tide_reshape_attrs r = *TIDE_ATTRS(reshape, .newshape.n = 0);
    CHECK(r.newshape.n == 0);
    CHECK(TIDE_ATTRS(argsort)->base == 1);
}

static tide_ctx *ctx;

static tide_tensor *floats(int n, const int64_t *shape, const float *v) {
    tide_tensor *t = NULL;
    CHECK(tide_from(ctx, TIDE_F32, n, shape, v, &t) == TIDE_OK);
    return t;
}
static tide_tensor *wholes(int n, const int64_t *v) {
    tide_tensor *t = NULL;
    CHECK(tide_from(ctx, TIDE_I64, 1, &(int64_t){n}, v, &t) == TIDE_OK);
    return t;
}
static tide_tensor *one(const tide_op *op, const void *attrs, tide_tensor *x, tide_tensor *w) {
    tide_tensor *in[3] = {x, w, NULL}, *y = NULL;
    if (tide_apply(ctx, op, attrs, op->nin, in, &y) != TIDE_OK)
        bad = 1, printf("%s\n", tide_message(ctx));
    return y;
}
static int holds(tide_tensor *t, int dtype, int n, const double *v) {
    int same = t && t->dtype == dtype && tide_numel(t) == n;
    for (int i = 0; i < n && same; i++) same = tide_item(t, i) == v[i];
    return same;
}
#define HOLDS(t, dtype, ...)                                                \
    CHECK(holds(t, dtype, sizeof((double[]){__VA_ARGS__}) / sizeof(double), \
                (double[]){__VA_ARGS__}))

/* Two channels of two pixels, 10 times the first and 100 times the second; likewise in a composed
 * op, in its gradient, and where windows are pooled. */
static void channels(void) {
    tide_tensor *x = floats(4, (int64_t[]){1, 2, 1, 2}, (float[]){1, 2, 3, 4}),
                *w = floats(4, (int64_t[]){1, 1, 2, 1}, (float[]){10, 100});
    x->requires_grad = 1;
    const tide_conv_attrs *a = TIDE_ATTRS(conv, .data_format = TIDE_CHANNELS_channels_first);
    tide_tensor *y = one(&tide_op_conv, a, x, w);
    HOLDS(y, TIDE_F32, 310, 420);
    CHECK(y && tide_has_shape(y, 4, (int64_t[]){1, 1, 1, 2}));
    CHECK(a->data_format == TIDE_CHANNELS_channels_first);
    tide_tensor *seed = floats(4, (int64_t[]){1, 1, 1, 2}, (float[]){1, 2}), *g = NULL;
    CHECK(tide_grad(ctx, y, seed, 1, &x, 0, 0, &g) == TIDE_OK);
    HOLDS(g, TIDE_F32, 10, 20, 100, 200);
    tide_tensor *deep =
        one(&tide_op_depthwise_conv,
            TIDE_ATTRS(depthwise_conv, .data_format = TIDE_CHANNELS_channels_first), x, w);
    HOLDS(deep, TIDE_F32, 10, 20, 300, 400);
    tide_tensor *most = one(&tide_op_max_pool,
                            TIDE_ATTRS(max_pool, .pool_size = TIDE_INTS(1, 2),
                                       .data_format = TIDE_CHANNELS_channels_first),
                            x, NULL);
    HOLDS(most, TIDE_F32, 2, 4);
    tide_tensor *all[] = {x, w, y, seed, g, deep, most};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tide_release(all[i]);
}

static void dtypes(void) {
    int32_t v[] = {1 << 30, 1 << 30, 1 << 30};
    tide_tensor *x = NULL, *g = NULL;
    CHECK(tide_from(ctx, TIDE_I32, 1, &(int64_t){3}, v, &x) == TIDE_OK);
    tide_tensor *wide = one(&tide_op_sum, TIDE_ATTRS(sum, .dtype = TIDE_I64), x, NULL);
    HOLDS(wide, TIDE_I64, 3221225472.0);
    tide_tensor *mean = one(&tide_op_mean, TIDE_ATTRS(mean, .dtype = TIDE_F64), x, NULL);
    HOLDS(mean, TIDE_F64, 1 << 30);
    tide_tensor *f = floats(1, (int64_t[]){2}, (float[]){1, 2049});
    f->requires_grad = 1;
    tide_tensor *half = one(&tide_op_cumsum, TIDE_ATTRS(cumsum, .dtype = TIDE_F16), f, NULL);
    HOLDS(half, TIDE_F16, 1, 2048); /* float16 has no odd numbers above 2048, nor does the sum */
    CHECK(tide_grad(ctx, half, NULL, 1, &f, 0, 0, &g) != TIDE_OK); /* no scalar */
    tide_tensor *total = one(&tide_op_sum, TIDE_ATTRS(sum, .dtype = TIDE_F64), f, NULL);
    HOLDS(total, TIDE_F64, 2050);
    CHECK(tide_grad(ctx, total, NULL, 1, &f, 0, 0, &g) == TIDE_OK);
    HOLDS(g, TIDE_F32, 1, 1);
    tide_tensor *all[] = {x, wide, mean, f, half, total, g};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tide_release(all[i]);
}

static tide_tensor *largest(tide_tensor *x, tide_value initial) {
    return one(&tide_op_max, TIDE_ATTRS(max, .initial = initial), x, NULL);
}
static void refuses(tide_tensor *x, tide_value initial, const char *message) {
    tide_tensor *y = NULL;
    CHECK(tide_apply(ctx, &tide_op_min, TIDE_ATTRS(min, .initial = initial), 1, &x, &y) ==
          TIDE_EDTYPE);
    CHECK(!y && strstr(tide_message(ctx), message));
}

static void initial_values(void) {
    const tide_value none = {0}, nan = {.is = TIDE_VALUE_REAL, .real = NAN},
                     half = {.is = TIDE_VALUE_REAL, .real = 2.5},
                     three = {.is = TIDE_VALUE_REAL, .real = 3},
                     most = {.is = TIDE_VALUE_WHOLE, .whole = 9007199254740993};
    tide_tensor *x = floats(1, (int64_t[]){2}, (float[]){1, 2}), *i = wholes(2, (int64_t[]){1, 2}),
                *empty = wholes(0, (int64_t[]){0}), *g = NULL;
    x->requires_grad = 1;
    tide_tensor *y[] = {largest(x, none),  largest(x, half), largest(x, nan),
                        largest(i, three), largest(i, most), largest(empty, most)};
    HOLDS(y[0], TIDE_F32, 2);
    HOLDS(y[1], TIDE_F32, 2.5);
    CHECK(y[2] && isnan(tide_item(y[2], 0)));
    HOLDS(y[3], TIDE_I64, 3);
    CHECK(y[4] && tide_item_int(y[4], 0) == 9007199254740993); /* no double */
    CHECK(y[5] && tide_item_int(y[5], 0) == 9007199254740993);
    CHECK(tide_grad(ctx, y[1], NULL, 1, &x, 0, 0, &g) == TIDE_OK);
    HOLDS(g, TIDE_F32, 0, 0);
    refuses(i, nan, "min: initial is NaN, which no int64 is");
    refuses(i, half, "min: initial is 2.5, which no int64 is");
    tide_device *dev = tide_device_find("test");
    tide_tensor *there = NULL;
    if (dev && tide_to(ctx, i, dev, &there) == TIDE_OK) {
        tide_tensor *z = largest(there, most), *back = NULL;
        CHECK(z && tide_device_of(z) == dev);
        if (z) CHECK(tide_to(ctx, z, tide_cpu(), &back) == TIDE_OK);
        if (back) CHECK(tide_item_int(back, 0) == 9007199254740993);
        tide_release(z);
        tide_release(back);
    }
    tide_tensor *all[] = {x, i, empty, g, there, y[0], y[1], y[2], y[3], y[4], y[5]};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) tide_release(all[k]);
}

/* No op declares an initial value without saying what joins it. */
static void complete(void) {
    for (int i = 0; i < TIDE_OP_COUNT; i++) {
        const tide_arg *a = tide_ops[i]->args();
        for (int k = 0; k < tide_ops[i]->nargs; k++)
            if (!strcmp(a[k].name, "initial"))
                CHECK(a[k].kind == TIDE_ARG_VALUE && tide_ops[i]->joins);
    }
}

int main(void) {
    ctx = tide_ctx_new();
    if (!ctx) return 1;
    defaults();
    channels();
    dtypes();
    initial_values();
    complete();
    CHECK(tide_live_tensors() == 0);
    tide_ctx_free(ctx);
    if (!bad) puts("ok");
    return bad;
}
