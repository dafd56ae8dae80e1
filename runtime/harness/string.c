/* memcpy, memmove and memset for bare-metal images: whole words where both addresses allow it. */
#include "string.h"

#include <stddef.h>
#include <stdint.h>

typedef uint32_t __attribute__((may_alias)) word;

/* The loops below are unrolled by hand where it pays; more of it would only take flash. */
#if defined(__clang__)
#define SMALL __attribute__((minsize))
#else
#define SMALL
#endif

static int both_aligned(const void *a, const void *b) {
    return (((uintptr_t)a | (uintptr_t)b) & 3u) == 0;
}

SMALL void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
    unsigned char *out = to;
    const unsigned char *in = from;
    if (both_aligned(to, from)) {
        for (; bytes >= 16; bytes -= 16, in += 16, out += 16) {
            const word a = ((const word *)(const void *)in)[0];
            const word b = ((const word *)(const void *)in)[1];
            const word c = ((const word *)(const void *)in)[2];
            const word d = ((const word *)(const void *)in)[3];
            ((word *)(void *)out)[0] = a;
            ((word *)(void *)out)[1] = b;
            ((word *)(void *)out)[2] = c;
            ((word *)(void *)out)[3] = d;
        }
        for (; bytes >= 4; bytes -= 4, in += 4, out += 4) {
            *(word *)(void *)out = *(const word *)(const void *)in;
        }
    }
    while (bytes-- > 0) {
        *out++ = *in++;
    }
    return to;
}

SMALL void *memmove(void *to, const void *from, size_t bytes) {
    unsigned char *out = to;
    const unsigned char *in = from;
    if ((uintptr_t)to - (uintptr_t)from >= bytes) { /* forwards reads nothing that it has written */
        if (both_aligned(to, from)) {
            for (; bytes >= 4; bytes -= 4, in += 4, out += 4) {
                *(word *)(void *)out = *(const word *)(const void *)in;
            }
        }
        while (bytes-- > 0) {
            *out++ = *in++;
        }
        return to;
    }
    if (both_aligned(to, from)) {
        for (; (bytes & 3u) != 0; bytes--) {
            out[bytes - 1] = in[bytes - 1];
        }
        for (; bytes >= 4; bytes -= 4) {
            *(word *)(void *)(out + bytes - 4) = *(const word *)(const void *)(in + bytes - 4);
        }
    }
    for (; bytes > 0; bytes--) {
        out[bytes - 1] = in[bytes - 1];
    }
    return to;
}

SMALL void *memset(void *to, int value, size_t bytes) {
    unsigned char *out = to;
    const unsigned char byte = (unsigned char)value;
    const word four = byte * 0x01010101u;
    for (; bytes > 0 && ((uintptr_t)out & 3u) != 0; bytes--) {
        *out++ = byte;
    }
    for (; bytes >= 16; bytes -= 16, out += 16) {
        ((word *)(void *)out)[0] = four;
        ((word *)(void *)out)[1] = four;
        ((word *)(void *)out)[2] = four;
        ((word *)(void *)out)[3] = four;
    }
    for (; bytes >= 4; bytes -= 4, out += 4) {
        *(word *)(void *)out = four;
    }
    while (bytes-- > 0) {
        *out++ = byte;
    }
    return to;
}
