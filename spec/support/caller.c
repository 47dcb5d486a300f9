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

int main(void) {
    tide_ctx *ctx = tide_ctx_new();
    if (!ctx) return 1;
    defaults();
    tide_ctx_free(ctx);
    if (!bad) puts("ok");
    return bad;
}
