/* tide-hdf5: the separate program that reads and writes HDF5 for Tide, so that
 * libhdf5 never runs in a user's process.
 *
 *     tide-hdf5 read BYTES ROOM  descriptor 3 holds the HDF5 file; standard
 *         output gets it as a record, without data where they take more than
 *         ROOM bytes
 *     tide-hdf5 some BYTES ROOM  the same with the data of those datasets alone
 *         whose positions (u64, from 0, behind their number) standard input
 *         holds, which take ROOM bytes
 *     tide-hdf5 write BYTES      standard input holds a record; descriptor 3
 *         gets the HDF5 file, standard output its sum
 *
 * A record is a safetensors file (u64 length of the header, header, data) and a
 * trailer: u32 CRC-32 of all before it and the four bytes "TIDE".
 * `__metadata__.attributes` is JSON: {"/path": {"attribute": value}, ...}, with
 * one entry for each group and dataset. BYTES bounds what all data
 * may take. An attribute is a string (UTF-8 scalar), a number, a list
 * of strings or numbers, or, for writing, {"ascii": "..."}; an empty list is
 * written as h5py writes it, as float64 of length 0.
 *
 * A failure is one line on standard error (which is a file in memory) and the
 * exit status 1. */
#ifndef TIDE_HDF5_H
#define TIDE_HDF5_H

#include <hdf5.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { HDF5_FILE = 3, MAX_RANK = 16, MAX_DEPTH = 64, MAX_OBJECTS = 1000000 };
/* The attribute of files that Tide wrote: on a dataset the CRC-32 of its elements, on the root that
 * of the tree (tree_sum). The reader checks and removes it; a file without is read as it is. */
#define SUM "tide_crc32"
#define MAX_HEADER 100000000u

/* A dataset as the record names it: HDF5 rows of one kind. */
typedef struct {
    char *path;
    const char *dtype; /* safetensors' name */
    hid_t type;        /* what H5Dread and H5Dwrite are given */
    int rank;
    hsize_t dims[MAX_RANK];
    uint64_t bytes;
    int64_t sum; /* of the elements; -1: the file has none */
} dataset;

/* main.c */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void *must(void *p); /* a block that was asked for, or the end of the program */
void send_bytes(const void *data, size_t n);
void receive_bytes(void *data, size_t n);
void send_trailer(void);
void receive_trailer(void);
uint32_t sum_of(uint32_t before, const void *data, size_t n);

/* read.c, write.c */
void check_written(hid_t file, json_t *request, json_t *attributes);
json_int_t tree_sum(void);
/* The datasets that a reader asks for; `at` NULL: all, where they take `room` bytes or fewer. */
typedef struct {
    const uint64_t *at;
    uint64_t n, room;
} wanted;
void read_file(const void *image, size_t size, uint64_t max, const wanted *);
void write_file(uint64_t max);

#endif
