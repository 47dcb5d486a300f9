/* Owns reading: one walk that checks and describes everything, then the data,
 * dataset by dataset.
 *
 * Invariant: nothing is sent before the whole tree was checked: only hard
 * links, each object once, datasets stored in this file by plain, chunked or
 * compact layout with deflate, shuffle and fletcher32 alone, and no dataset
 * claims more bytes than deflate could make of what is stored. What is written
 * takes the same walk before it leaves the program. */
#include "hdf5.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ATTRIBUTE = 64 << 20, MAX_NAME = 4096, DEFLATE_RATIO = 1032 };

static struct {
    const void *image;
    size_t size;
    uint64_t max, declared, attribute_bytes;
    dataset *sets;
    int64_t n, room, objects;
    haddr_t *seen; /* open hash of addresses of objects */
    size_t seen_room;
    json_t *attributes;
} R;

/* -- the file is what the parent mapped: no path, no copy -- */

static void *image_malloc(size_t n, H5FD_file_image_op_t op, void *udata) {
    (void)op, (void)udata;
    return n == R.size ? (void *)(uintptr_t)R.image : NULL;
}
static void *image_memcpy(void *to, const void *from, size_t n, H5FD_file_image_op_t op,
                          void *udata) {
    (void)from, (void)n, (void)op, (void)udata;
    return to;
}
static void *image_realloc(void *p, size_t n, H5FD_file_image_op_t op, void *udata) {
    (void)p, (void)n, (void)op, (void)udata;
    return NULL;
}
static herr_t image_free(void *p, H5FD_file_image_op_t op, void *udata) {
    (void)p, (void)op, (void)udata;
    return 0;
}

static hid_t open_image(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5FD_file_image_callbacks_t calls = {.image_malloc = image_malloc,
                                         .image_memcpy = image_memcpy,
                                         .image_realloc = image_realloc,
                                         .image_free = image_free};
    if (access < 0 || H5Pset_fapl_core(access, 1 << 16, 0) < 0 ||
        H5Pset_file_image_callbacks(access, &calls) < 0 ||
        H5Pset_file_image(access, (void *)(uintptr_t)R.image, R.size) < 0)
        fail("libhdf5 refuses the file");
    hid_t file = H5Fopen("image", H5F_ACC_RDONLY, access);
    if (file < 0) fail("not an HDF5 file, or a damaged one");
    H5Pclose(access);
    return file;
}

/* -- addresses seen: a group or dataset reached twice would be sent twice, or
 * forever -- */

static void see(haddr_t address, const char *path) {
    if (++R.objects > MAX_OBJECTS) fail("more than %d objects", MAX_OBJECTS);
    if ((size_t)R.objects * 2 > R.seen_room) {
        size_t room = R.seen_room ? R.seen_room * 2 : 1024;
        haddr_t *bigger = must(malloc(room * sizeof *bigger));
        for (size_t i = 0; i < room; i++) bigger[i] = HADDR_UNDEF;
        for (size_t i = 0; i < R.seen_room; i++) {
            if (R.seen[i] == HADDR_UNDEF) continue;
            size_t k = (size_t)(R.seen[i] * 0x9E3779B97F4A7C15u) & (room - 1);
            while (bigger[k] != HADDR_UNDEF) k = (k + 1) & (room - 1);
            bigger[k] = R.seen[i];
        }
        free(R.seen);
        R.seen = bigger, R.seen_room = room;
    }
    size_t k = (size_t)(address * 0x9E3779B97F4A7C15u) & (R.seen_room - 1);
    for (; R.seen[k] != HADDR_UNDEF; k = (k + 1) & (R.seen_room - 1))
        if (R.seen[k] == address) fail("%s: an object is linked more than once", path);
    R.seen[k] = address;
}

/* -- attributes -- */

/* Attributes are never compressed: together they have no more bytes than the file, unless they
 * share a string, which nobody writes. */
static void count_attribute(uint64_t bytes, const char *path, const char *name) {
    R.attribute_bytes += bytes;
    if (bytes > MAX_ATTRIBUTE || R.attribute_bytes > MAX_ATTRIBUTE || R.attribute_bytes > R.size)
        fail("%s: attribute '%s' is too large", path, name);
}

static json_t *text(const char *s, size_t n, const char *path, const char *name) {
    json_t *v = s ? json_stringn(s, n) : json_string("");
    if (!v) fail("%s: attribute '%s' is not valid UTF-8", path, name);
    return v;
}

/* A string or a list of strings; NULL: some other kind. */
static json_t *read_strings(hid_t a, hid_t type, hssize_t n, int scalar, const char *path,
                            const char *name) {
    json_t *list = must(json_array());
    if (H5Tis_variable_str(type) > 0) {
        char **p = must(calloc((size_t)n + 1, sizeof *p));
        hid_t mem = H5Tcopy(H5T_C_S1);
        if (H5Tset_size(mem, H5T_VARIABLE) < 0 || H5Tset_cset(mem, H5Tget_cset(type)) < 0 ||
            H5Aread(a, mem, p) < 0)
            fail("%s: attribute '%s' cannot be read", path, name);
        for (hssize_t i = 0; i < n; i++) {
            size_t len = p[i] ? strlen(p[i]) : 0;
            count_attribute(len, path, name);
            json_array_append_new(list, text(p[i], len, path, name));
            free(p[i]); /* libhdf5 allocates them with malloc */
        }
        free(p);
        H5Tclose(mem);
    } else {
        size_t width = H5Tget_size(type);
        char *p = must(calloc((size_t)n * width + 1, 1));
        if (H5Aread(a, type, p) < 0) fail("%s: attribute '%s' cannot be read", path, name);
        int spaces = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
        for (hssize_t i = 0; i < n; i++) {
            const char *s = p + (size_t)i * width;
            size_t len = strnlen(s, width);
            while (spaces && len > 0 && s[len - 1] == ' ') len--;
            json_array_append_new(list, text(s, len, path, name));
        }
        free(p);
    }
    if (!scalar) return list;
    json_t *one = json_incref(json_array_get(list, 0));
    json_decref(list);
    return one;
}

static json_t *read_numbers(hid_t a, int whole, hssize_t n, int scalar, const char *path,
                            const char *name) {
    void *p = must(calloc((size_t)n + 1, 8));
    if (H5Aread(a, whole ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, p) < 0)
        fail("%s: attribute '%s' cannot be read", path, name);
    json_t *list = must(json_array());
    for (hssize_t i = 0; i < n; i++) {
        double d = whole ? 0 : ((double *)p)[i];
        json_array_append_new(list,
                              whole             ? json_integer(((int64_t *)p)[i])
                                  : isfinite(d) ? json_real(d)
                                                : json_null());
    }
    free(p);
    if (!scalar) return list;
    json_t *one = json_incref(json_array_get(list, 0));
    json_decref(list);
    return one;
}

typedef struct {
    const char *path;
    json_t *into;
} attribute_walk;

static herr_t read_attribute(hid_t object, const char *name, const H5A_info_t *info, void *arg) {
    attribute_walk *w = arg;
    (void)info;
    if (strlen(name) > MAX_NAME)
        fail("%s: an attribute's name is longer than %d bytes", w->path, MAX_NAME);
    hid_t a = H5Aopen(object, name, H5P_DEFAULT);
    if (a < 0) fail("%s: attribute '%s' cannot be opened", w->path, name);
    hid_t type = H5Aget_type(a), space = H5Aget_space(a);
    hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
    size_t width = type < 0 ? 0 : H5Tget_size(type);
    if (n < 0 || width == 0) fail("%s: attribute '%s' is damaged", w->path, name);
    if (n > MAX_ATTRIBUTE) fail("%s: attribute '%s' is too large", w->path, name);
    count_attribute((uint64_t)n * width, w->path, name);
    int rank = H5Sget_simple_extent_ndims(space), scalar = rank == 0 && n == 1;
    H5T_class_t kind = H5Tget_class(type);
    json_t *v = NULL;
    if (rank <= 1 && kind == H5T_STRING) v = read_strings(a, type, n, scalar, w->path, name);
    else if (rank <= 1 && kind == H5T_INTEGER) v = read_numbers(a, 1, n, scalar, w->path, name);
    else if (rank <= 1 && kind == H5T_FLOAT) v = read_numbers(a, 0, n, scalar, w->path, name);
    if (v && json_object_set_new(w->into, name, v) != 0)
        fail("%s: the name of an attribute is not valid UTF-8", w->path);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(a);
    return 0;
}

static json_t *read_attributes(hid_t object, const char *path) {
    attribute_walk w = {path, must(json_object())};
    hsize_t at = 0;
    if (H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &at, read_attribute, &w) < 0)
        fail("%s: the attributes are damaged", path);
    if (json_object_set_new(R.attributes, path, w.into) != 0)
        fail("the name of an object is not valid UTF-8");
    return w.into;
}

/* -- datasets -- */

static int fields_are(hid_t t, size_t epos, size_t esize, size_t msize, size_t ebias) {
    size_t s, ep, es, mp, ms;
    return H5Tget_fields(t, &s, &ep, &es, &mp, &ms) >= 0 && ep == epos && es == esize && mp == 0 &&
        ms == msize && H5Tget_ebias(t) == ebias;
}

/* safetensors' name and the type in memory for a type in the file; NULL: Tide
 * has no such dtype */
static const char *dtype_of(hid_t t, json_t *attributes, hid_t *mem) {
    size_t size = H5Tget_size(t);
    switch (H5Tget_class(t)) {
    case H5T_FLOAT:
        if (size == 4) return *mem = H5T_NATIVE_FLOAT, "F32";
        if (size == 8) return *mem = H5T_NATIVE_DOUBLE, "F64";
        if (size != 2) return NULL;
        *mem = H5Tcopy(t);
        if (H5Tset_order(*mem, H5T_ORDER_LE) < 0) return NULL;
        return fields_are(t, 10, 5, 10, 15) ? "F16" : fields_are(t, 7, 8, 7, 127) ? "BF16" : NULL;
    case H5T_INTEGER: {
        int sign = H5Tget_sign(t) == H5T_SGN_2;
        if (size == 1) return *mem = sign ? H5T_NATIVE_INT8 : H5T_NATIVE_UINT8, sign ? "I8" : "U8";
        if (size == 2 || (size == 4 && sign)) return *mem = H5T_NATIVE_INT32, "I32";
        if (size == 4 || (size == 8 && sign)) return *mem = H5T_NATIVE_INT64, "I64";
        return NULL;
    }
    case H5T_ENUM: { /* h5py's bool: FALSE = 0, TRUE = 1 in one byte */
        signed char v = 0;
        if (size != 1 || H5Tget_nmembers(t) != 2 || H5Tenum_valueof(t, "TRUE", &v) < 0 || v != 1)
            return NULL;
        *mem = H5Tcopy(t);
        return "BOOL";
    }
    case H5T_OPAQUE: {
        const char *named = json_string_value(json_object_get(attributes, "dtype"));
        if (size != 2 || !named || strcmp(named, "bfloat16")) return NULL;
        *mem = H5Tcopy(t);
        return "BF16";
    }
    default: return NULL;
    }
}

static void check_layout(hid_t d, const char *path, uint64_t bytes) {
    hid_t how = H5Dget_create_plist(d);
    H5D_layout_t layout = how < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(how);
    if (layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED && layout != H5D_COMPACT)
        fail("%s: virtual datasets are not followed", path);
    if (H5Pget_external_count(how) != 0)
        fail("%s: data outside of the file are not followed", path);
    int deflated = 0, nfilters = H5Pget_nfilters(how);
    for (int i = 0; i < nfilters; i++) {
        unsigned flags, config;
        size_t count = 0;
        char name[64] = "";
        H5Z_filter_t id =
            H5Pget_filter2(how, (unsigned)i, &flags, &count, NULL, sizeof name, name, &config);
        if (id != H5Z_FILTER_DEFLATE && id != H5Z_FILTER_SHUFFLE && id != H5Z_FILTER_FLETCHER32)
            fail("%s: filter %d (%.40s) is not one of deflate, shuffle, fletcher32", path, (int)id,
                 name);
        deflated |= id == H5Z_FILTER_DEFLATE;
    }
    if (nfilters < 0) fail("%s: the filters are damaged", path);
    if (layout == H5D_CHUNKED) {
        hsize_t chunk[H5S_MAX_RANK];
        int rank = H5Pget_chunk(how, H5S_MAX_RANK, chunk);
        hid_t type = H5Dget_type(d);
        uint64_t size = H5Tget_size(type);
        H5Tclose(type);
        for (int i = 0; i < rank; i++)
            if (__builtin_mul_overflow(size, (uint64_t)chunk[i], &size)) size = UINT64_MAX;
        if (rank < 0 || size > R.max + 4096)
            fail("%s: chunks of %llu bytes are more than the %llu allowed", path,
                 (unsigned long long)size, (unsigned long long)R.max);
    }
    H5Pclose(how);
    uint64_t stored = H5Dget_storage_size(d), most;
    if (stored > R.size)
        fail("%s: claims %llu stored bytes in a file of %zu", path, (unsigned long long)stored,
             R.size);
    if (__builtin_mul_overflow(stored, (uint64_t)(deflated ? DEFLATE_RATIO : 1), &most))
        most = UINT64_MAX;
    if (bytes > most)
        fail("%s: declares %llu bytes and stores %llu", path, (unsigned long long)bytes,
             (unsigned long long)stored);
}

static void describe_dataset(hid_t d, const char *path) {
    json_t *attributes = read_attributes(d, path);
    hid_t type = H5Dget_type(d), space = H5Dget_space(d);
    if (type < 0 || space < 0) fail("%s: the dataset is damaged", path);
    dataset s = {.type = -1};
    H5S_class_t extent = H5Sget_simple_extent_type(space);
    int rank = H5Sget_simple_extent_ndims(space);
    s.dtype = dtype_of(type, attributes, &s.type);
    if (!s.dtype || (extent != H5S_SCALAR && extent != H5S_SIMPLE) || rank < 0 || rank > MAX_RANK) {
        json_object_set_new(attributes, "@unsupported",
                            json_string(!s.dtype ? "a type that tensors do not have"
                                                 : "a rank or an extent that tensors do not have"));
    } else {
        if (H5Sget_simple_extent_dims(space, s.dims, NULL) != rank)
            fail("%s: the dataset is damaged", path);
        uint64_t stored = H5Tget_size(type);
        s.rank = rank;
        s.bytes = H5Tget_size(s.type);
        for (int i = 0; i < rank; i++)
            if (__builtin_mul_overflow(s.bytes, (uint64_t)s.dims[i], &s.bytes) ||
                __builtin_mul_overflow(stored, (uint64_t)s.dims[i], &stored))
                fail("%s: the size of the shape overflows", path);
        check_layout(d, path, stored);
        if (__builtin_add_overflow(R.declared, s.bytes, &R.declared) || R.declared > R.max)
            fail("%s: with it the file declares more than the %llu bytes allowed", path,
                 (unsigned long long)R.max);
        if (R.n == R.room) {
            R.room = R.room ? 2 * R.room : 64;
            R.sets = must(realloc(R.sets, (size_t)R.room * sizeof *R.sets));
        }
        s.path = must(strdup(path));
        json_t *sum = json_object_get(attributes, SUM);
        s.sum = json_is_integer(sum) ? json_integer_value(sum) : -1;
        R.sets[R.n++] = s;
    }
    H5Sclose(space);
    H5Tclose(type);
}

/* -- the walk -- */

typedef struct {
    char path[MAX_NAME];
    size_t n;
    int depth;
} place;

static herr_t visit(hid_t group, const char *name, const H5L_info_t *info, void *arg) {
    place *at = arg;
    size_t len = strlen(name);
    if (at->n + len + 2 > sizeof at->path)
        fail("%.200s: a path is longer than %d bytes", at->path, MAX_NAME);
    size_t before = at->n;
    at->path[at->n] = '/';
    memcpy(at->path + at->n + 1, name, len + 1);
    at->n += len + 1;
    const char *path = at->path;
    if (info->type != H5L_TYPE_HARD)
        fail("%s: %s link; only what is in the file itself is read", path,
             info->type == H5L_TYPE_SOFT ? "a soft" : "an external");
    if (++at->depth > MAX_DEPTH) fail("%s: nested deeper than %d", path, MAX_DEPTH);
    hid_t o = H5Oopen(group, name, H5P_DEFAULT);
    H5O_info_t facts;
    if (o < 0 || H5Oget_info2(o, &facts, H5O_INFO_BASIC) < 0)
        fail("%s: the object is damaged", path);
    see(facts.addr, path);
    if (facts.type == H5O_TYPE_GROUP) {
        read_attributes(o, path);
        hsize_t from = 0;
        if (H5Literate(o, H5_INDEX_NAME, H5_ITER_INC, &from, visit, at) < 0)
            fail("%s: the group is damaged", path);
    } else if (facts.type == H5O_TYPE_DATASET) {
        describe_dataset(o, path);
    }
    H5Oclose(o);
    at->depth--;
    at->n = before;
    at->path[before] = 0;
    return 0;
}

/* The record's header; the caller frees it. */
static char *header_text(void) {
    json_t *root = must(json_object()), *meta = must(json_object());
    char *attributes = must(json_dumps(R.attributes, JSON_COMPACT));
    json_object_set_new(meta, "attributes", json_string(attributes));
    free(attributes);
    json_object_set_new(root, "__metadata__", meta);
    uint64_t at = 0;
    for (int64_t i = 0; i < R.n; i++) {
        const dataset *s = &R.sets[i];
        json_t *shape = must(json_array());
        for (int a = 0; a < s->rank; a++)
            json_array_append_new(shape, json_integer((json_int_t)s->dims[a]));
        json_t *entry = json_pack("{s:s,s:o,s:[I,I]}", "dtype", s->dtype, "shape", shape,
                                  "data_offsets", (json_int_t)at, (json_int_t)(at + s->bytes));
        if (!entry || json_object_set_new(root, s->path, entry) != 0)
            fail("%s: the name is not valid UTF-8", s->path);
        at += s->bytes;
    }
    char *header = must(json_dumps(root, JSON_COMPACT));
    if (strlen(header) > MAX_HEADER)
        fail("the tree takes %zu bytes, more than the %u allowed", strlen(header), MAX_HEADER);
    json_decref(root);
    return header;
}

static void send_header(void) {
    char *header = header_text();
    uint64_t n = strlen(header);
    unsigned char head[8];
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)(n >> (8 * i));
    send_bytes(head, sizeof head);
    send_bytes(header, n);
    free(header);
}

static void walk(hid_t file) {
    R.attributes = must(json_object());
    hid_t root = H5Gopen2(file, "/", H5P_DEFAULT);
    H5O_info_t facts;
    if (root < 0 || H5Oget_info2(root, &facts, H5O_INFO_BASIC) < 0)
        fail("the root group is damaged");
    see(facts.addr, "/");
    read_attributes(root, "/");
    place at = {.n = 0};
    hsize_t from = 0;
    if (H5Literate(root, H5_INDEX_NAME, H5_ITER_INC, &from, visit, &at) < 0)
        fail("the root group is damaged");
}

/* The CRC-32 of what the walk found: attributes but the root's own sum, names, dtypes and shapes.
 */
json_int_t tree_sum(void) {
    json_object_del(json_object_get(R.attributes, "/"), SUM);
    char *text = must(json_dumps(R.attributes, JSON_COMPACT | JSON_SORT_KEYS));
    uint32_t sum = sum_of(0, text, strlen(text));
    free(text);
    for (int64_t i = 0; i < R.n; i++) {
        const dataset *s = &R.sets[i];
        sum = sum_of(sum, s->path, strlen(s->path) + 1);
        sum = sum_of(sum, s->dtype, strlen(s->dtype) + 1);
        for (int a = 0; a < s->rank; a++) {
            uint64_t n = s->dims[a];
            unsigned char bytes[8];
            for (int k = 0; k < 8; k++) bytes[k] = (unsigned char)(n >> (8 * k));
            sum = sum_of(sum, bytes, sizeof bytes);
        }
    }
    return sum;
}

/* Files that Tide wrote have all the sums, others none. */
static void check_tree(void) {
    json_t *own = json_object_get(json_object_get(R.attributes, "/"), SUM);
    int has = own != NULL;
    json_int_t want = json_integer_value(own), sum = tree_sum();
    if (has && sum != want) fail("the tree is damaged (its checksum is wrong)");
    const char *path;
    json_t *attributes;
    json_object_foreach(R.attributes, path, attributes) {
        if (json_object_del(attributes, SUM) == 0 && !has)
            fail("the tree is damaged (its checksum is missing)");
    }
}

/* What the reader would refuse, or find under another name, is refused. */
void check_written(hid_t file, json_t *request, json_t *attributes) {
    R.size = SIZE_MAX, R.max = UINT64_MAX / 2;
    walk(file);
    free(header_text());
    const char *path;
    json_t *v;
    json_object_foreach(request, path, v) {
        if (strcmp(path, "__metadata__") && !json_object_get(R.attributes, path))
            fail("'%s' is no name that a dataset can have", path);
    }
    json_object_foreach(attributes, path, v) {
        if (!json_object_get(R.attributes, path))
            fail("'%s' is no name that a group can have", path);
    }
}

static void send_dataset(hid_t file, const dataset *s) {
    if (s->bytes == 0) return;
    hid_t d = H5Dopen2(file, s->path, H5P_DEFAULT);
    void *p = must(malloc(s->bytes));
    if (d < 0 || H5Dread(d, s->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, p) < 0)
        fail("%s: the data are damaged", s->path);
    if (s->sum >= 0 && s->sum != sum_of(0, p, s->bytes))
        fail("%s: the data are damaged (their checksum is wrong); a program that changes them "
             "has to remove the attributes " SUM " of the file",
             s->path);
    send_bytes(p, s->bytes);
    free(p);
    H5Dclose(d);
}

void read_file(const void *image, size_t size, uint64_t max, const wanted *w) {
    R.image = image, R.size = size, R.max = max;
    hid_t file = open_image();
    walk(file);
    check_tree();
    send_header();
    for (int64_t i = 0; !w->at && R.declared <= w->room && i < R.n; i++)
        send_dataset(file, &R.sets[i]);
    for (uint64_t k = 0; w->at && k < w->n; k++) {
        if (w->at[k] >= (uint64_t)R.n) fail("the request is damaged");
        send_dataset(file, &R.sets[w->at[k]]);
    }
    send_trailer();
}
