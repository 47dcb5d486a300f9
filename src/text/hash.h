/* Hashes of text that models keep their meaning by: those by which TensorFlow chooses bins. */
#ifndef TIDE_HASH_H
#define TIDE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* FarmHash's Fingerprint64 (Google, 2014), the same on every machine. */
uint64_t tide_fingerprint64(const char *text, size_t n);
/* SipHash-2-4 under the key (k0, k1) (Aumasson and Bernstein 2012). */
uint64_t tide_siphash64(const char *text, size_t n, uint64_t k0, uint64_t k1);
/* The fingerprint of two fingerprints in order, as TensorFlow joins those of crossed columns. */
uint64_t tide_fingerprint_pair(uint64_t first, uint64_t second);

#endif
