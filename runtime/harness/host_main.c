/* A host program around an artifact: one sample's inputs on stdin, its outputs on stdout, all in the artifact's types.
 *
 * Every buffer is allocated alone and with its exact size, so that AddressSanitizer sees the first byte outside it.
 */
#define _POSIX_C_SOURCE 200112L /* posix_memalign: arenas of vector code are aligned to a cache line */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const uint32_t dnncc_glue_sizes[];
int dnncc_glue_run(void *const *pools, void *const *io);

enum { PAINT = 0xA5 };

static void **allocate(size_t count, const uint32_t *bytes) {
    void **buffers = malloc((count + 1u) * sizeof(void *));
    for (size_t i = 0; buffers != NULL && i < count; i++) {
        if (posix_memalign(&buffers[i], 64, bytes[i] > 0u ? bytes[i] : 1u) != 0) {
            return NULL;
        }
        memset(buffers[i], PAINT, bytes[i]);
    }
    return buffers;
}

int main(void) {
    const size_t pools = dnncc_glue_sizes[0];
    const size_t inputs = dnncc_glue_sizes[1];
    const size_t outputs = dnncc_glue_sizes[2];
    const uint32_t *pool_bytes = dnncc_glue_sizes + 3;
    const uint32_t *io_bytes = pool_bytes + pools;
    void **arenas = allocate(pools, pool_bytes);
    void **io = allocate(inputs + outputs, io_bytes);
    if (arenas == NULL || io == NULL) {
        return 70;
    }
    for (size_t i = 0; i < inputs; i++) {
        if (fread(io[i], 1, io_bytes[i], stdin) != io_bytes[i]) {
            return 71;
        }
    }
    if (dnncc_glue_run(arenas, io) != 0) {
        return 72;
    }
    for (size_t i = inputs; i < inputs + outputs; i++) {
        if (fwrite(io[i], 1, io_bytes[i], stdout) != io_bytes[i]) {
            return 73;
        }
    }
    for (size_t i = 0; i < pools; i++) {
        free(arenas[i]);
    }
    for (size_t i = 0; i < inputs + outputs; i++) {
        free(io[i]);
    }
    free(arenas);
    free(io);
    return 0;
}
