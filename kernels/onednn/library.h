/* The symbols of oneDNN that are used, for C and for the C++ of guard.cc. */
#ifndef TIDE_ONEDNN_LIBRARY_H
#define TIDE_ONEDNN_LIBRARY_H

#if defined(__has_include) && !defined(TIDE_NO_ONEDNN)
#if __has_include(<oneapi/dnnl/dnnl.h>)
#include <oneapi/dnnl/dnnl.h>
#if DNNL_VERSION_MAJOR == 2
#define TIDE_HAS_ONEDNN 1
#endif
#endif
#endif

#ifdef TIDE_HAS_ONEDNN

/* clang-format off */
#define TIDE_DNNL_SYMBOLS(X) \
    X(version) X(engine_create) X(stream_create) X(sgemm) X(primitive_desc_create) \
    X(primitive_desc_destroy) X(primitive_desc_query) X(primitive_desc_query_md) \
    X(primitive_create) X(primitive_destroy) X(primitive_execute) X(memory_create) \
    X(memory_destroy) X(memory_get_memory_desc) X(memory_set_data_handle) \
    X(memory_desc_init_by_strides) X(memory_desc_init_by_tag) X(memory_desc_equal) \
    X(memory_desc_get_size) X(set_primitive_cache_capacity) \
    X(reorder_primitive_desc_create) X(primitive_attr_create) X(primitive_attr_destroy) \
    X(primitive_attr_set_scratchpad_mode) X(primitive_attr_set_post_ops) X(post_ops_create) \
    X(post_ops_destroy) X(post_ops_append_eltwise) X(dilated_convolution_forward_desc_init) \
    X(dilated_convolution_backward_data_desc_init) \
    X(dilated_convolution_backward_weights_desc_init)
/* clang-format on */

typedef struct {
#define X(name) __typeof__(dnnl_##name) *name;
    TIDE_DNNL_SYMBOLS(X)
#undef X
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} tide_dnnl_lib;

#ifdef __cplusplus
extern "C" {
#endif

/* Puts in place of each function one in which an exception becomes dnnl_out_of_memory: the library
 * throws where an allocation fails, and above it there is only C. */
void tide_dnnl_guard(tide_dnnl_lib *);
void tide_dnnl_ran_short(void); /* they call it where memory was short */

#ifdef __cplusplus
}
#endif

#endif
#endif
