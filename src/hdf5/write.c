/* Owns writing: a record becomes an HDF5 file in memory, laid out as h5py does
 * it (oldest format, contiguous datasets, no times), which is then written to
 * the descriptor. */
#include "hdf5.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static hid_t bool_type(void) {
    hid_t t = H5Tenum_create(H5T_NATIVE_INT8);
    signed char no = 0, yes = 1;
    if (t < 0 || H5Tenum_insert(t, "FALSE", &no) < 0 || H5Tenum_insert(t, "TRUE", &yes) < 0)
        fail("libhdf5 cannot make a bool");
    return t;
}

static hid_t half_type(void) {
    hid_t t = H5Tcopy(H5T_IEEE_F32LE);
    if (t < 0 || H5Tset_fields(t, 15, 10, 5, 0, 10) < 0 || H5Tset_size(t, 2) < 0 ||
        H5Tset_ebias(t, 15) < 0)
        fail("libhdf5 cannot make a float16");
    return t;
}

/* As h5py writes two bytes that are no number: opaque, without a tag. */
static hid_t bfloat_type(void) {
    hid_t t = H5Tcreate(H5T_OPAQUE, 2);
    if (t < 0) fail("libhdf5 cannot make a bfloat16");
    return t;
}

static hid_t type_of(const char *dtype) {
    if (!strcmp(dtype, "F32")) return H5T_IEEE_F32LE;
    if (!strcmp(dtype, "F64")) return H5T_IEEE_F64LE;
    if (!strcmp(dtype, "I64")) return H5T_STD_I64LE;
    if (!strcmp(dtype, "I32")) return H5T_STD_I32LE;
    if (!strcmp(dtype, "U8")) return H5T_STD_U8LE;
    if (!strcmp(dtype, "I8")) return H5T_STD_I8LE;
    if (!strcmp(dtype, "BOOL")) return bool_type();
    if (!strcmp(dtype, "F16")) return half_type();
    if (!strcmp(dtype, "BF16")) return bfloat_type();
    fail("HDF5 files are not written with dtype %.16s", dtype);
}

/* Groups and datasets in the order of the request; missing parents are made. */
static hid_t parents;

static hid_t creation(hid_t class) {
    hid_t p = H5Pcreate(class);
    if (p < 0 || H5Pset_obj_track_times(p, 0) < 0) fail("libhdf5 cannot be started");
    return p;
}

static void put(hid_t o, const char *path, const char *name, hid_t type, hid_t space,
                const void *data) {
    hid_t a = H5Acreate2(o, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (a < 0 || H5Awrite(a, type, data) < 0)
        fail("%s: attribute '%s' cannot be written", path, name);
    H5Aclose(a);
    H5Sclose(space);
}

static hid_t string_type(H5T_cset_t set) {
    hid_t t = H5Tcopy(H5T_C_S1);
    if (t < 0 || H5Tset_size(t, H5T_VARIABLE) < 0 || H5Tset_cset(t, set) < 0)
        fail("libhdf5 cannot make a string");
    return t;
}

static void put_text(hid_t o, const char *path, const char *name, H5T_cset_t set, const char *s) {
    hid_t t = string_type(set);
    put(o, path, name, t, H5Screate(H5S_SCALAR), &s);
    H5Tclose(t);
}

static void put_list(hid_t o, const char *path, const char *name, json_t *v) {
    hsize_t n = json_array_size(v);
    hid_t space = H5Screate_simple(1, &n, NULL);
    if (n == 0) {
        double none = 0;
        put(o, path, name, H5T_IEEE_F64LE, space, &none);
    } else if (json_is_string(json_array_get(v, 0))) {
        const char **texts = must(calloc(n, sizeof *texts));
        for (hsize_t i = 0; i < n; i++)
            texts[i] = must((void *)(uintptr_t)json_string_value(json_array_get(v, i)));
        hid_t t = string_type(H5T_CSET_ASCII);
        put(o, path, name, t, space, texts);
        H5Tclose(t);
        free(texts);
    } else {
        double *numbers = must(calloc(n, sizeof *numbers));
        for (hsize_t i = 0; i < n; i++) numbers[i] = json_number_value(json_array_get(v, i));
        put(o, path, name, H5T_IEEE_F64LE, space, numbers);
        free(numbers);
    }
}

static void write_attributes(hid_t o, const char *path, json_t *attributes) {
    const char *name;
    json_t *v;
    json_object_foreach(attributes, name, v) {
        json_t *ascii = json_object_get(v, "ascii");
        const char *s = json_string_value(ascii ? ascii : v);
        if (s) {
            put_text(o, path, name, ascii ? H5T_CSET_ASCII : H5T_CSET_UTF8, s);
        } else if (json_is_array(v)) {
            put_list(o, path, name, v);
        } else if (json_is_integer(v)) {
            int64_t i = json_integer_value(v);
            put(o, path, name, H5T_STD_I64LE, H5Screate(H5S_SCALAR), &i);
        } else if (json_is_real(v)) {
            double d = json_real_value(v);
            put(o, path, name, H5T_IEEE_F64LE, H5Screate(H5S_SCALAR), &d);
        } else {
            fail("%s: attribute '%s' is of no kind that can be written", path, name);
        }
    }
}

typedef struct {
    const char *path;
    json_t *entry;
    uint64_t begin, end;
} item;

static int by_begin(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static void write_dataset(hid_t file, const item *it, json_t *attributes) {
    const char *dtype = json_string_value(json_object_get(it->entry, "dtype"));
    json_t *shape = json_object_get(it->entry, "shape");
    hsize_t dims[MAX_RANK];
    size_t rank = json_array_size(shape);
    if (!dtype || rank > MAX_RANK) fail("%s: the request is damaged", it->path);
    uint64_t bytes = it->end - it->begin;
    for (size_t i = 0; i < rank; i++)
        dims[i] = (hsize_t)json_integer_value(json_array_get(shape, i));
    hid_t type = type_of(dtype);
    uint64_t want = H5Tget_size(type);
    for (size_t i = 0; i < rank; i++)
        if (__builtin_mul_overflow(want, (uint64_t)dims[i], &want)) want = UINT64_MAX;
    if (want != bytes)
        fail("%s: the request is damaged (%llu bytes, its shape takes %llu)", it->path,
             (unsigned long long)bytes, (unsigned long long)want);
    void *p = must(malloc(bytes + 1));
    receive_bytes(p, bytes);
    hid_t space = rank ? H5Screate_simple((int)rank, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t how = creation(H5P_DATASET_CREATE);
    hid_t d = space < 0 ? -1 : H5Dcreate2(file, it->path, type, space, parents, how, H5P_DEFAULT);
    if (d < 0) fail("%s: the dataset cannot be made", it->path);
    int64_t sum = sum_of(0, p, bytes);
    put(d, it->path, SUM, H5T_STD_I64LE, H5Screate(H5S_SCALAR), &sum);
    if (bytes > 0 && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, p) < 0)
        fail("%s: the data cannot be written", it->path);
    free(p);
    write_attributes(d, it->path, attributes);
    /* two opaque bytes: Keras and read.c take them for a bfloat16 by this attribute */
    if (!strcmp(dtype, "BF16") && !json_object_get(attributes, "dtype"))
        put_text(d, it->path, "dtype", H5T_CSET_UTF8, "bfloat16");
    H5Dclose(d);
    H5Sclose(space);
    H5Pclose(how);
}

static void write_out(const char *p, size_t n) {
    uint32_t sum = sum_of(0, p, n);
    uint64_t size = n;
    for (size_t left = n; left > 0;) {
        ssize_t r = write(HDF5_FILE, p, left < (1u << 24) ? left : (1u << 24));
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) fail("the file cannot be written: %s", strerror(errno));
        p += r, left -= (size_t)r;
    }
    send_bytes(&size, sizeof size);
    send_bytes(&sum, sizeof sum);
    send_trailer();
}

void write_file(uint64_t max) {
    unsigned char head[8];
    receive_bytes(head, sizeof head);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | head[i];
    if (n > MAX_HEADER) fail("the tree takes more than %u bytes", MAX_HEADER);
    char *text = must(malloc(n + 1));
    receive_bytes(text, n);
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    const char *inner =
        json_string_value(json_object_get(json_object_get(root, "__metadata__"), "attributes"));
    json_t *attributes = inner ? json_loads(inner, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (!root || !json_is_object(attributes)) fail("the request is damaged");
    free(text);

    hid_t access = H5Pcreate(H5P_FILE_ACCESS), how = creation(H5P_FILE_CREATE);
    parents = H5Pcreate(H5P_LINK_CREATE);
    if (access < 0 || H5Pset_fapl_core(access, 1 << 20, 0) < 0 || parents < 0 ||
        H5Pset_create_intermediate_group(parents, 1) < 0)
        fail("libhdf5 cannot be started");
    hid_t file = H5Fcreate("image", H5F_ACC_TRUNC, how, access);
    if (file < 0) fail("libhdf5 cannot make a file in memory");

    const char *path;
    json_t *v;
    json_object_foreach(attributes, path, v) {
        if (json_object_get(root, path)) continue; /* a dataset */
        hid_t group_how = creation(H5P_GROUP_CREATE);
        hid_t g = !strcmp(path, "/") || H5Lexists(file, path, H5P_DEFAULT) > 0
            ? H5Gopen2(file, path, H5P_DEFAULT)
            : H5Gcreate2(file, path, parents, group_how, H5P_DEFAULT);
        if (g < 0) fail("%s: the group cannot be made", path);
        write_attributes(g, path, v);
        H5Gclose(g);
        H5Pclose(group_how);
    }
    size_t count = json_object_size(root), k = 0;
    item *items = must(calloc(count + 1, sizeof *items));
    json_object_foreach(root, path, v) {
        if (!strcmp(path, "__metadata__")) continue;
        json_t *range = json_object_get(v, "data_offsets");
        items[k++] = (item){path, v, (uint64_t)json_integer_value(json_array_get(range, 0)),
                            (uint64_t)json_integer_value(json_array_get(range, 1))};
    }
    qsort(items, k, sizeof *items, by_begin);
    uint64_t at = 0;
    for (size_t i = 0; i < k; i++) {
        if (items[i].begin != at || items[i].end < at || items[i].end > max)
            fail("%s: the request is damaged", items[i].path);
        at = items[i].end;
        write_dataset(file, &items[i], json_object_get(attributes, items[i].path));
    }
    receive_trailer();
    check_written(file, root, attributes);
    int64_t sum = tree_sum();
    hid_t top = H5Gopen2(file, "/", H5P_DEFAULT);
    if (top < 0) fail("libhdf5 cannot complete the file");
    put(top, "/", SUM, H5T_STD_I64LE, H5Screate(H5S_SCALAR), &sum);
    H5Gclose(top);
    if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) fail("libhdf5 cannot complete the file");
    ssize_t size = H5Fget_file_image(file, NULL, 0);
    void *image = size > 0 ? must(malloc((size_t)size)) : NULL;
    if (!image || H5Fget_file_image(file, image, (size_t)size) != size)
        fail("libhdf5 cannot complete the file");
    write_out(image, (size_t)size);
}
