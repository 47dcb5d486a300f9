/* Files: whole reads with limits, atomic writes, JSON with limits, safetensors and IDX. No Lua.
 *
 * Every reader checks sizes against the bytes that are really there before it allocates, runs no
 * code, opens no other path, and fails with one message that names the file, the field, what was
 * found and what is allowed. */
#ifndef TIDE_IO_H
#define TIDE_IO_H

#include "../tide.h"

/* -- opening: regular files alone. A pipe would make its reader wait and a device has no size, but
 * every reader checks sizes first; `tide inspect /dev/stdin <FILE` works, for that is a file. -- */
tide_status tide_file_open(tide_ctx *, const char *path, int *fd, int64_t *size);
/* The same for threads that have no context; -1, and `why`: the end of a sentence about the path.
 */
int tide_open_regular(const char *path, int64_t *size, const char **why);

/* -- whole files -- */
/* Reads the first `most` bytes of a file of at most `max` bytes into a block that the caller frees;
 * a NUL follows the last byte. */
tide_status tide_file_read(tide_ctx *, const char *path, int64_t max, int64_t most, char **data,
                           size_t *n);
tide_status tide_mkdirs(tide_ctx *,
                        const char *path); /* like mkdir -p; what exists already is fine */

/* New: elements from byte `offset` of a file, which is mapped and not read; what is written to them
 * stays in this process. */
tide_status tide_file_map(tide_ctx *, const char *path, int64_t offset, tide_dtype dtype, int rank,
                          const int64_t *shape, tide_tensor **out);

/* -- atomic writes: a temporary file beside the target, fsync, rename, fsync of the folder. Until
 * tide_writer_commit succeeds the old file is untouched; a writer that is closed without it leaves
 * nothing behind, and what one left that was killed goes when the file is written again. Symbolic
 * links are followed, also to where nothing is yet; what is there and is no regular file is
 * refused.
 * -- */
typedef struct tide_writer tide_writer;
tide_status tide_writer_open(tide_ctx *, const char *path, tide_writer **out);
tide_status tide_writer_write(tide_ctx *, tide_writer *, const void *data, size_t n);
tide_status tide_writer_commit(tide_ctx *,
                               tide_writer *); /* on success the writer is done; close it anyway */
void tide_writer_close(tide_writer *);         /* accepts NULL */
tide_status tide_file_replace(tide_ctx *, const char *path, const void *data,
                              size_t n); /* all of it in one call */
/* For logs: cuts the file to its first `at` bytes (-1: no cut) and adds the data, all of them or
 * nothing; makes the file where there is none. `size`: its length then, -1 for a pipe or a device,
 * which are written to too. */
tide_status tide_file_append(tide_ctx *, const char *path, int64_t at, const void *data, size_t n,
                             int64_t *size);
/* Sends text to host:port and reads the first line of the answer into `line`, of `room` bytes. */
tide_status tide_http(tide_ctx *, const char *host, const char *port, const char *text, size_t n,
                      int timeout_ms, char *line, size_t room);
/* CRC-32C of n bytes. */
uint32_t tide_crc32c(const void *data, size_t n);
/* From now on a write beyond the limit of a file's size (RLIMIT_FSIZE) fails with EFBIG where it
 * would have ended the process; programs that are started are not concerned. */
void tide_writes_fail(void);
/* For tests: the n-th (from 1) call at a point ("write", "fsync", "close", "rename", "fsync_dir")
 * fails with `err`, or, when err is -1, the process is killed there; with -2 a write takes half of
 * its bytes. n = 0 switches it off. Returns 0 for an unknown point. */
int tide_io_fault(const char *point, int64_t n, int err);

/* -- JSON: strict (valid UTF-8, no NaN), one token after the other, no memory taken. Keys are the
 * caller's to compare. -- */
#define TIDE_JSON_DEPTH 64
#define TIDE_JSON_BYTES ((size_t)16 << 20) /* of a configuration */
typedef enum {
    TIDE_JSON_ERROR, /* see `status`; the message is in the context */
    TIDE_JSON_DONE,  /* behind the value is nothing more */
    TIDE_JSON_END,   /* of the innermost object or array */
    TIDE_JSON_KEY,   /* `string`; its value follows. What comes here on begins a value: */
    TIDE_JSON_OBJECT,
    TIDE_JSON_ARRAY,
    TIDE_JSON_STRING,
    TIDE_JSON_INTEGER,
    TIDE_JSON_REAL,
    TIDE_JSON_TRUE,
    TIDE_JSON_FALSE,
    TIDE_JSON_NULL,
} tide_json_kind;
typedef struct {
    tide_ctx *ctx;
    const char *what;            /* opens the messages */
    const char *text, *at, *end; /* a NUL stands at `end` */
    const char *string;          /* of a key or string as it is written: `length` bytes */
    size_t length;
    int escaped; /* whether it holds escapes */
    int64_t integer;
    double real;
    tide_status status;
    int depth, fresh, keyed, begun;
    char is_object[TIDE_JSON_DEPTH];
} tide_json;
/* Refuses a text of more than `most` bytes. text[n] is NUL. */
tide_status tide_json_begin(tide_json *, tide_ctx *, const char *what, const char *text, size_t n,
                            size_t most);
tide_json_kind tide_json_next(tide_json *);
/* The last key or string, escapes resolved, into `length` bytes or fewer, which may be its own
 * place; no NUL is added. Returns how many. */
size_t tide_json_text(const tide_json *, char *to);
/* Fails for the last key, which was there before. */
tide_status tide_json_duplicate(tide_json *);
/* A text that grows; begin with zeros, free `p`. `status`: TIDE_ENOMEM, or TIDE_EARG for a string
 * that is not UTF-8. */
typedef struct {
    char *p;
    size_t n, room;
    tide_status status;
} tide_string;
void tide_text_add(tide_string *, const char *);
void tide_text_string(tide_string *, const char *); /* quoted, as JSON */
/* "name":{"dtype":…,"shape":…,"data_offsets":…} of a safetensors header */
void tide_text_entry(tide_string *, const char *name, const char *dtype, int rank,
                     const int64_t *shape, uint64_t begin, uint64_t end);

/* -- safetensors -- */
typedef struct {
    const char *name;       /* borrowed from the file object */
    const char *dtype_name; /* as the file spells it */
    int dtype;              /* tide_dtype, -1: valid, but none of Tide's */
    int rank;
    const int64_t *shape; /* [rank] */
    uint64_t begin, end;  /* bytes, relative to the data section */
    uint32_t crc;
    int has_crc;
} tide_st_entry;

typedef struct tide_st_file tide_st_file;
/* Opens and checks the whole header; nothing of the data is read. */
tide_status tide_st_open(tide_ctx *, const char *path, tide_st_file **out);
void tide_st_close(tide_st_file *); /* accepts NULL */
int64_t tide_st_count(const tide_st_file *);
const tide_st_entry *tide_st_entry_at(const tide_st_file *,
                                      int64_t i); /* in order of the data section */
/* The i-th of `__metadata__`, in order of the keys; borrowed. 0: there are no more. */
int tide_st_metadata(const tide_st_file *, int64_t i, const char **key, const char **value);
/* The same for a header alone whose data come from elsewhere (entries are checked against each
 * other, not against a file); tide_st_read does not work on it. `what` opens the messages. */
tide_status tide_st_parse(tide_ctx *, const char *what, const char *text, size_t n,
                          tide_st_file **out);
const char *tide_twice(const char **names, int64_t n); /* sorts them; NULL: all differ */
const char *tide_st_dtype_name(tide_dtype);            /* "F32", ...; NULL: the format has none */
/* Reads one tensor (new), checking its checksum where the file has one. */
tide_status tide_st_read(tide_ctx *, tide_st_file *, int64_t i, tide_tensor **out);
/* Writes atomically, with checksums. Tensors are contiguous; names unique and not "__metadata__".
 */
tide_status tide_st_write(tide_ctx *, const char *path, int64_t n, const char *const *names,
                          tide_tensor *const *tensors, int64_t nmeta, const char *const *keys,
                          const char *const *values);

/* -- IDX (the format of MNIST), gzipped or not: unsigned and signed bytes, 16-bit (read as int32),
 * int32, float32, float64 -- */
tide_status tide_idx_read(tide_ctx *, const char *path, tide_tensor **out);

/* -- bytes in memory that a file in memory holds -- */
typedef struct {
    const char *data;
    size_t size;
} tide_blob;
tide_status tide_blob_from(tide_ctx *, const char *what, int fd,
                           tide_blob *out); /* maps; the caller still closes fd */
void tide_blob_free(tide_blob *);

/* -- HDF5, through the program tide-hdf5 (src/hdf5/): libhdf5 never runs in this process. `what`
 * opens the messages; `max` bounds the bytes of all tensors. -- */
typedef struct tide_h5 tide_h5;
/* Names, shapes and attributes. Data are read when they are asked for, since a small file may
 * declare many; the caller still closes fd. */
tide_status tide_h5_open(tide_ctx *, const char *what, int fd, uint64_t max, tide_h5 **out);
/* Reads the datasets at these n different places, counted from 0. */
tide_status tide_h5_fetch(tide_ctx *, tide_h5 *, uint64_t n, const uint64_t *at);
void tide_h5_close(tide_h5 *); /* accepts NULL */
int64_t tide_h5_count(const tide_h5 *);
const tide_st_entry *tide_h5_entry_at(const tide_h5 *, int64_t i);
/* What was fetched, once; the caller owns it. */
tide_tensor *tide_h5_take(tide_h5 *, int64_t i);
const char *tide_h5_attributes(
    const tide_h5 *); /* JSON: { "/path": { attribute: value } }, groups included */
/* Makes an HDF5 file in memory. Names are absolute paths, tensors contiguous, `attributes` is JSON
 * as above. */
tide_status tide_h5_write(tide_ctx *, const char *what, int64_t n, const char *const *names,
                          tide_tensor *const *tensors, const char *attributes, tide_blob *out);
/* Another program than the one beside the module (NULL: that one) and how long it may be silent (0:
 * a minute). For tests. */
void tide_h5_program(const char *path, int timeout_ms);

/* -- zip archives of model files: checked when they are opened, stored members when written -- */
typedef struct tide_zip tide_zip;
tide_status tide_zip_open(tide_ctx *, const char *path, tide_zip **out);
void tide_zip_close(tide_zip *); /* accepts NULL */
int64_t tide_zip_count(const tide_zip *);
int64_t tide_zip_find(const tide_zip *, const char *name); /* -1: not there */
void tide_zip_member(const tide_zip *, int64_t i, const char **name, uint64_t *size);
uint64_t tide_zip_stored(const tide_zip *, int64_t i); /* bytes of the file that make the member */
/* Into a block that the caller frees (a NUL follows), or into a file in memory that the caller
 * closes. */
tide_status tide_zip_read(tide_ctx *, tide_zip *, int64_t i, uint64_t max, char **data, size_t *n);
/* The first `n` bytes, or all where there are fewer; unchecked. */
tide_status tide_zip_head(tide_ctx *, tide_zip *, int64_t i, char *data, size_t *n);
tide_status tide_zip_unpack(tide_ctx *, tide_zip *, int64_t i, uint64_t max, int *fd);
tide_status tide_zip_write(tide_ctx *, const char *path, int64_t n, const char *const *names,
                           const tide_blob *members); /* atomically */

#endif
