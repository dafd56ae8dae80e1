/* The only C library functions that a generated network may call, for compilers without a bare-metal C library. */
#ifndef DNNCC_HARNESS_STRING_H
#define DNNCC_HARNESS_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

#endif
