/* Digests of files: MD5 (RFC 1321) and SHA-256 (FIPS 180-4), to tell a damaged download. */
#ifndef TIDE_DIGEST_H
#define TIDE_DIGEST_H

#include "../tide.h"

typedef enum { TIDE_MD5, TIDE_SHA256 } tide_digest;

/* Reads the file to its end; `hex` gets 32 or 64 characters and a NUL. */
tide_status tide_file_digest(tide_ctx *, const char *path, tide_digest, char hex[65] /* out */);

#endif
