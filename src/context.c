/* Contexts, statuses and messages.
 *
 * Invariant: a context outlives its tensors (each holds a reference), so a handle collected late
 * finds its context alive. */
#include "op.h"
#include "point.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const status_names[] = {
    [TIDE_OK] = "ok",         [TIDE_EARG] = "argument",      [TIDE_ESHAPE] = "shape",
    [TIDE_EDTYPE] = "dtype",  [TIDE_EINDEX] = "index",       [TIDE_EDEVICE] = "device",
    [TIDE_ENOMEM] = "memory", [TIDE_ENOKERNEL] = "kernel",   [TIDE_EGRAD] = "gradient",
    [TIDE_EIO] = "io",        [TIDE_ERELEASED] = "released", [TIDE_EINTERRUPT] = "interrupted",
};

tide_ctx *tide_ctx_new(void) {
    tide_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return NULL;
    tide_defaults_fill();
    ctx->refs = 1;
    ctx->grad_mode = 1;
    ctx->seq = 1;
    ctx->device = ctx->home = tide_cpu();
    ctx->numbers = (tide_storage){.refs = 1, .version = 1};
    return ctx;
}

void tide_ctx_unref(tide_ctx *ctx) {
    if (--ctx->refs > 0) return;
    tide_headers_free(ctx);
    tide_nodes_free(ctx);
    free(ctx);
}

void tide_ctx_free(tide_ctx *ctx) {
    if (!ctx) return;
    tide_scalar_free(ctx);
    tide_profile_free(ctx->profile);
    ctx->profile = NULL;
    tide_ctx_unref(ctx);
}

tide_device *tide_default_device(tide_ctx *ctx, tide_device *dev) {
    tide_device *was = ctx->device;
    ctx->device = dev;
    return was;
}

const char *tide_message(const tide_ctx *ctx) { return ctx->message; }

tide_status tide_fail(tide_ctx *ctx, tide_status status, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    tide_point point = tide_point_begin();
    vsnprintf(ctx->message, sizeof ctx->message, fmt, ap);
    tide_point_end(point);
    va_end(ap);
    return status;
}

const char *tide_status_name(tide_status s) {
    return s >= 0 && (size_t)s < sizeof status_names / sizeof *status_names ? status_names[s]
                                                                            : "unknown";
}

void tide_seed(tide_ctx *ctx, uint64_t seed) {
    ctx->rng = (tide_rng){.seed = seed};
    ctx->seeded = 1;
}

tide_status tide_may_draw(tide_ctx *ctx, const char *what) {
    if (!ctx->seeded && (ctx->strict || ctx->determined))
        return tide_fail(ctx, TIDE_EARG,
                         "%s: draws random numbers in deterministic mode before any seed was given "
                         "(expected tide.seed(n) first, got none)",
                         what);
    return TIDE_OK;
}

tide_status tide_draw(tide_ctx *ctx, const char *what, int64_t n, tide_rng *out) {
    TIDE_TRY(tide_may_draw(ctx, what));
    *out = ctx->rng;
    if (out->offset == 0) out->offset = ctx->rng.offset = 1; /* all zero: not drawn yet */
    ctx->rng.offset += ((uint64_t)n + 31) & ~(uint64_t)15;   /* whole groups of philox.h */
    return TIDE_OK;
}

int tide_grad_mode(tide_ctx *ctx, int on) {
    int was = ctx->grad_mode;
    ctx->grad_mode = on != 0;
    return was;
}
