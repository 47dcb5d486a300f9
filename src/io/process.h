/* A program that answers messages: started with one socket as its standard input and output, in a
 * group of its own, and killed when it is closed. Messages are a length of 8 bytes, little-endian,
 * and so many bytes. What comes while one is sent is kept, so neither side waits for the other. */
#ifndef TIDE_PROCESS_H
#define TIDE_PROCESS_H

#include "../tide.h"

#include <stddef.h>

typedef struct tide_process tide_process;
/* `program` is a path, argv ends with NULL; `what` opens the messages, and is copied. */
tide_status tide_process_start(tide_ctx *, const char *what, const char *program, char *const *argv,
                               tide_process **out);
void tide_process_close(tide_process *); /* kills it; accepts NULL */
tide_status tide_process_send(tide_ctx *, tide_process *, const char *data, size_t n);
/* Waits for a message; `data` is valid until the next call. */
tide_status tide_process_receive(tide_ctx *, tide_process *, const char **data, size_t *n);

#endif
