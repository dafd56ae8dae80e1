/* dnncc_cpu.h: vector kernels for general-purpose processors, in the same bits as dnncc.h.
 *
 * A network uses the instructions of the level that it is compiled for (-march): SSE4.2, AVX2, AVX-512, AVX-512 VNNI, or
 * NEON with dot products. Vectors are GNU C vectors of DNNCC_LANES 32-bit elements; intrinsics only where products of
 * bytes need them.
 */
#ifndef DNNCC_CPU_H
#define DNNCC_CPU_H

#include <stddef.h>

#include "dnncc.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512BW__)
#define DNNCC_LANES 16
#elif defined(__AVX2__)
#define DNNCC_LANES 8
#else
#define DNNCC_LANES 4
#endif

#define DNNCC_INLINE static inline __attribute__((always_inline, unused))
#define DNNCC_ALIGN64 __attribute__((aligned(64)))
#if defined(__clang__)
#define DNNCC_UNROLL _Pragma("unroll")
#else
#define DNNCC_UNROLL _Pragma("GCC unroll 64")
#endif

typedef int32_t dnncc_vi __attribute__((vector_size(4 * DNNCC_LANES), may_alias));
typedef float dnncc_vf __attribute__((vector_size(4 * DNNCC_LANES), may_alias));
/* The same, anywhere in memory. */
typedef int32_t dnncc_vi_at __attribute__((vector_size(4 * DNNCC_LANES), may_alias, aligned(1)));
typedef float dnncc_vf_at __attribute__((vector_size(4 * DNNCC_LANES), may_alias, aligned(1)));

/* -- one step of a tile: a group of products per lane ----------------------------------------------------------------
 *
 * For each form of products: the type of an activation in memory and of a sum, how many are multiplied at once (G), what
 * a group of G activations for all lanes is, what G weights per lane are, and what adds their products to the sums.
 */

DNNCC_INLINE int32_t dnncc_word(const void *x) {
    int32_t y;
    memcpy(&y, x, 4);
    return y;
}

/* f32: one product, fused into an FMA. */
typedef dnncc_vf dnncc_sums_f32;
#define DNNCC_X_f32 float
#define DNNCC_W_f32 float
#define DNNCC_SUM_f32 float
#define DNNCC_G_f32 1
DNNCC_INLINE dnncc_vf dnncc_spread_f32(const float *x) { return *x - (dnncc_vf){0}; }
DNNCC_INLINE dnncc_vf dnncc_weights_f32(const float *w) { return *(const dnncc_vf_at *)w; }
DNNCC_INLINE dnncc_vf dnncc_step_f32(dnncc_vf sums, dnncc_vf x, dnncc_vf w) { return sums + x * w; }

/* i16x2: two products of 16 bits, PMADDWD. Weights are bytes in memory. */
#if defined(__SSE4_1__)
typedef dnncc_vi dnncc_sums_i16x2;
#define DNNCC_X_i16x2 int16_t
#define DNNCC_W_i16x2 int8_t
#define DNNCC_SUM_i16x2 int32_t
#define DNNCC_G_i16x2 2
DNNCC_INLINE dnncc_vi dnncc_spread_i16x2(const int16_t *x) { return dnncc_word(x) - (dnncc_vi){0}; }
DNNCC_INLINE dnncc_vi dnncc_weights_i16x2(const int8_t *w) {
#if DNNCC_LANES == 16
    return (dnncc_vi)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)w));
#elif DNNCC_LANES == 8
    return (dnncc_vi)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)w));
#else
    return (dnncc_vi)_mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)w));
#endif
}
DNNCC_INLINE dnncc_vi dnncc_step_i16x2(dnncc_vi sums, dnncc_vi x, dnncc_vi w) {
#if DNNCC_LANES == 16
    return sums + (dnncc_vi)_mm512_madd_epi16((__m512i)x, (__m512i)w);
#elif DNNCC_LANES == 8
    return sums + (dnncc_vi)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#else
    return sums + (dnncc_vi)_mm_madd_epi16((__m128i)x, (__m128i)w);
#endif
}
#endif

/* u8x4: four products of an unsigned and a signed byte, VPDPBUSD; exact, it does not saturate. */
#if defined(__AVX512VNNI__)
typedef dnncc_vi dnncc_sums_u8x4;
#define DNNCC_X_u8x4 uint8_t
#define DNNCC_W_u8x4 int8_t
#define DNNCC_SUM_u8x4 int32_t
#define DNNCC_G_u8x4 4
DNNCC_INLINE dnncc_vi dnncc_spread_u8x4(const uint8_t *x) { return dnncc_word(x) - (dnncc_vi){0}; }
DNNCC_INLINE dnncc_vi dnncc_weights_u8x4(const int8_t *w) { return *(const dnncc_vi_at *)(const void *)w; }
DNNCC_INLINE dnncc_vi dnncc_step_u8x4(dnncc_vi sums, dnncc_vi x, dnncc_vi w) {
    return (dnncc_vi)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)x, (__m512i)w);
}
#endif

/* i8x4: four products of signed bytes, SDOT. */
#if defined(__ARM_FEATURE_DOTPROD)
typedef dnncc_vi dnncc_sums_i8x4;
#define DNNCC_X_i8x4 int8_t
#define DNNCC_W_i8x4 int8_t
#define DNNCC_SUM_i8x4 int32_t
#define DNNCC_G_i8x4 4
DNNCC_INLINE dnncc_vi dnncc_spread_i8x4(const int8_t *x) { return dnncc_word(x) - (dnncc_vi){0}; }
DNNCC_INLINE dnncc_vi dnncc_weights_i8x4(const int8_t *w) { return *(const dnncc_vi_at *)(const void *)w; }
DNNCC_INLINE dnncc_vi dnncc_step_i8x4(dnncc_vi sums, dnncc_vi x, dnncc_vi w) {
    return (dnncc_vi)vdotq_s32((int32x4_t)sums, (int8x16_t)x, (int8x16_t)w);
}
#endif

/* -- tiles ---------------------------------------------------------------------------------------------------------- */

#define DNNCC_AHEAD 4096 /* bytes of weights that are fetched before they are needed */

/* dnncc_tile_FORM_LxPxV: sums[l, i][lane] = sum of x[l * line + i * pixel + a * s1 + b * s2 + G * g + j] *
 * w[a, b, g][lane][j] over a < n1, b < n2, g < words, j < G, for L lines of P pixels and V vectors of channels; distances
 * in elements of x. */
#define DNNCC_TILE(form, L, P, V)                                                                                      \
    DNNCC_INLINE void dnncc_tile_##form##_##L##x##P##x##V(DNNCC_SUM_##form *restrict sums, const DNNCC_X_##form *restrict x,\
                                                    ptrdiff_t line, ptrdiff_t pixel, const DNNCC_W_##form *restrict w, int32_t n1,\
                                                    ptrdiff_t s1, int32_t n2, ptrdiff_t s2, int32_t words) {           \
        dnncc_sums_##form c[L * P][V];                                                                                 \
        DNNCC_UNROLL for (int i = 0; i < L * P; ++i) {                                                                 \
            DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                                 \
                c[i][v] = (dnncc_sums_##form){0};                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        for (int32_t a = 0; a < n1; ++a) {                                                                             \
            for (int32_t b = 0; b < n2; ++b) {                                                                         \
                const DNNCC_X_##form *q = x + a * s1 + b * s2;                                                         \
                DNNCC_NO_UNROLL                                                                                        \
                for (int32_t g = 0; g < words; ++g) {                                                                  \
                    dnncc_sums_##form weights[V];                                                                      \
                    DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                         \
                        weights[v] = dnncc_weights_##form(w + v * DNNCC_LANES * DNNCC_G_##form);                       \
                        __builtin_prefetch((const char *)(w + v * DNNCC_LANES * DNNCC_G_##form) + DNNCC_AHEAD);        \
                    }                                                                                                  \
                    DNNCC_UNROLL for (int i = 0; i < L * P; ++i) {                                                     \
                        const dnncc_sums_##form spread =                                                               \
                            dnncc_spread_##form(q + i / P * line + i % P * pixel);                                     \
                        DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                     \
                            c[i][v] = dnncc_step_##form(c[i][v], spread, weights[v]);                                  \
                        }                                                                                              \
                    }                                                                                                  \
                    q += DNNCC_G_##form;                                                                               \
                    w += V * DNNCC_LANES * DNNCC_G_##form;                                                             \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        DNNCC_UNROLL for (int i = 0; i < L * P; ++i) {                                                                 \
            DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                                 \
                *(dnncc_sums_##form *)(void *)(sums + (i * V + v) * DNNCC_LANES) = c[i][v];                            \
            }                                                                                                          \
        }                                                                                                              \
    }

/* dnncc_depthwise_FORM_RxV: sums[i][lane] = sum of x[i * pixel + a * s1 + b * s2][lane][j] * w[a, b][lane][j]
 * over a < n1, b < n2, j < G: every channel has weights of its own. */
#define DNNCC_DEPTHWISE(form, R, V)                                                                                    \
    DNNCC_INLINE void dnncc_depthwise_##form##_##R##x##V(                                                              \
        DNNCC_SUM_##form *restrict sums, const DNNCC_X_##form *restrict x, ptrdiff_t pixel,                            \
        const DNNCC_WD_##form *restrict w, int32_t n1, ptrdiff_t s1, int32_t n2, ptrdiff_t s2) {                       \
        dnncc_sums_##form c[R][V];                                                                                     \
        DNNCC_UNROLL for (int i = 0; i < R; ++i) {                                                                     \
            DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                                 \
                c[i][v] = (dnncc_sums_##form){0};                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        for (int32_t a = 0; a < n1; ++a) {                                                                             \
            for (int32_t b = 0; b < n2; ++b) {                                                                         \
                const DNNCC_X_##form *p = x + a * s1 + b * s2;                                                         \
                DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                             \
                    const int lane = v * DNNCC_LANES * DNNCC_G_##form;                                                 \
                    const dnncc_sums_##form weights = dnncc_at_##form(w + lane);                                       \
                    DNNCC_UNROLL for (int i = 0; i < R; ++i) {                                                         \
                        const dnncc_sums_##form value = dnncc_at_##form(p + i * pixel + lane);                         \
                        c[i][v] = dnncc_step_##form(c[i][v], value, weights);                                          \
                    }                                                                                                  \
                }                                                                                                      \
                w += V * DNNCC_LANES * DNNCC_G_##form;                                                                 \
            }                                                                                                          \
        }                                                                                                              \
        DNNCC_UNROLL for (int i = 0; i < R; ++i) {                                                                     \
            DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                                 \
                *(dnncc_sums_##form *)(void *)(sums + (i * V + v) * DNNCC_LANES) = c[i][v];                            \
            }                                                                                                          \
        }                                                                                                              \
    }
#define DNNCC_WD_f32 float
#define dnncc_at_f32 dnncc_weights_f32
#define DNNCC_WD_i16x2 int16_t
#define dnncc_at_i16x2(p) (*(const dnncc_vi_at *)(const void *)(p))
#define DNNCC_WD_u8x4 int8_t
#define dnncc_at_u8x4(p) (*(const dnncc_vi_at *)(const void *)(p))
#define DNNCC_WD_i8x4 int8_t
#define dnncc_at_i8x4(p) (*(const dnncc_vi_at *)(const void *)(p))

/* A row of a depthwise convolution in single precision, read where it lies: what lies outside of the image is left out.
 *
 * sums[i][lane] = sum of x[row + a * dh][column + i * sw + b * dw][lane] * w[b, a][lane] over a < kh, b < kw, for `count`
 * pixels and the channels from `x` on, `lanes` of which exist; line and column as for dnncc_rows. */
DNNCC_INLINE dnncc_vf dnncc_some_f32(const float *p, int32_t lanes) {
#if DNNCC_LANES == 16
    return (dnncc_vf)_mm512_maskz_loadu_ps((__mmask16)(0xffffu >> (16 - lanes)), p);
#else
    dnncc_vf found = {0};
    for (int32_t k = 0; k < lanes; ++k) {
        found[k] = p[k];
    }
    return found;
#endif
}
#define DNNCC_DEPTHROW(form, R, V)                                                                                     \
    DNNCC_INLINE dnncc_vf dnncc_tap_##R##x##V(const float *p, int v, int32_t lanes) {                                  \
        const int32_t rest = lanes - v * DNNCC_LANES;                                                                  \
        return rest >= DNNCC_LANES ? *(const dnncc_vf_at *)(p + v * DNNCC_LANES)                                       \
               : rest > 0          ? dnncc_some_f32(p + v * DNNCC_LANES, rest)                                         \
                                   : (dnncc_vf){0};                                                                    \
    }                                                                                                                  \
    DNNCC_UNUSED DNNCC_NOINLINE static void dnncc_depthrow_##form##_##R##x##V(                                         \
        float *restrict sums, const float *restrict x, int32_t line, const float *restrict w, int32_t channel,         \
        int32_t h, int32_t width, int32_t c, int32_t top, int32_t left, int32_t sw, int32_t dh, int32_t dw,            \
        int32_t kh, int32_t kw, int32_t count) {                                                                       \
        const float *const image = x + (ptrdiff_t)(line / h) * h * width * c + channel;                                \
        const int32_t first = line % h - top;                                                                          \
        const int32_t lanes = c - channel;                                                                             \
        for (int32_t i = 0; i < count;) {                                                                              \
            const int32_t column = i * sw - left;                                                                      \
            const int whole = column >= 0 && column + (R - 1) * sw + (kw - 1) * dw < width && i + R <= count &&        \
                              lanes >= V * DNNCC_LANES;                                                                \
            if (whole) {                                                                                               \
                dnncc_vf c2[R][V];                                                                                     \
                DNNCC_UNROLL for (int r = 0; r < R; ++r) {                                                             \
                    DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                         \
                        c2[r][v] = (dnncc_vf){0};                                                                      \
                    }                                                                                                  \
                }                                                                                                      \
                for (int32_t a = 0; a < kh; ++a) {                                                                     \
                    const int32_t row = first + a * dh;                                                                \
                    if (row < 0 || row >= h) {                                                                         \
                        continue;                                                                                      \
                    }                                                                                                  \
                    const float *p = image + ((ptrdiff_t)row * width + column) * c;                                    \
                    for (int32_t b = 0; b < kw; ++b, p += dw * c) {                                                    \
                        DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                     \
                            const dnncc_vf weights =                                                                   \
                                *(const dnncc_vf_at *)(w + ((b * kh + a) * V + v) * DNNCC_LANES);                      \
                            DNNCC_UNROLL for (int r = 0; r < R; ++r) {                                                 \
                                c2[r][v] += *(const dnncc_vf_at *)(p + r * sw * c + v * DNNCC_LANES) * weights;        \
                            }                                                                                          \
                        }                                                                                              \
                    }                                                                                                  \
                }                                                                                                      \
                DNNCC_UNROLL for (int r = 0; r < R; ++r) {                                                             \
                    DNNCC_UNROLL for (int v = 0; v < V; ++v) {                                                         \
                        *(dnncc_vf_at *)(sums + ((i + r) * V + v) * DNNCC_LANES) = c2[r][v];                           \
                    }                                                                                                  \
                }                                                                                                      \
                i += R;                                                                                                \
                continue;                                                                                              \
            }                                                                                                          \
            for (int v = 0; v < V; ++v) {                                                                              \
                dnncc_vf one = {0};                                                                                    \
                for (int32_t a = 0; a < kh; ++a) {                                                                     \
                    const int32_t row = first + a * dh;                                                                \
                    for (int32_t b = 0; b < kw && row >= 0 && row < h; ++b) {                                          \
                        const int32_t at = column + b * dw;                                                            \
                        if (at >= 0 && at < width) {                                                                   \
                            one += dnncc_tap_##R##x##V(image + ((ptrdiff_t)row * width + at) * c, v, lanes) *          \
                                   *(const dnncc_vf_at *)(w + ((b * kh + a) * V + v) * DNNCC_LANES);                   \
                        }                                                                                              \
                    }                                                                                                  \
                }                                                                                                      \
                *(dnncc_vf_at *)(sums + (i * V + v) * DNNCC_LANES) = one;                                              \
            }                                                                                                          \
            ++i;                                                                                                       \
        }                                                                                                              \
    }

/* Rows below one another, side by side: what a depthwise kernel multiplies at once.
 *
 * q[column][quad][channel] holds, in one word, channel `channel` of G rows of the image, which are dh apart and begin with
 * row (line % h) - top of image line / h, at column `column` - left. Outside of the image, and in channels c to
 * `channels` - 1, is what stands for zero.
 */
#define DNNCC_ROWS(name, type, G, word)                                                                                \
    DNNCC_UNUSED static void name(void *restrict rows, const type *restrict x, int32_t line, int32_t h, int32_t w,     \
                                  int32_t c, int32_t top, int32_t left, int32_t dh, int32_t kh, int32_t columns,       \
                                  int32_t quads, int32_t channels) {                                                   \
        const type *const image = x + (ptrdiff_t)(line / h) * h * w * c;                                               \
        const int32_t first = line % h - top;                                                                          \
        for (int32_t quad = 0; quad < quads; ++quad) {                                                                 \
            const type *in[4];                                                                                         \
            for (int32_t j = 0; j < 4; ++j) {                                                                          \
                const int32_t tap = quad * G + (j < G ? j : 0), row = first + tap * dh;                                \
                in[j] = tap < kh && row >= 0 && row < h ? image + (ptrdiff_t)row * w * c : NULL;                       \
            }                                                                                                          \
            for (int32_t column = 0; column < columns;) {                                                              \
                uint32_t *restrict const q = (uint32_t *)rows + ((ptrdiff_t)column * quads + quad) * channels;         \
                const int32_t from = column - left;                                                                    \
                const int inside = from >= 0 && from < w;                                                              \
                /* Columns that follow one another in both are one run. */                                             \
                const int32_t run = w - from < columns - column ? w - from : columns - column;                         \
                const int32_t count = inside && quads == 1 && channels == c ? run : 1;                                 \
                const int32_t n = count * c;                                                                           \
                const int ma = inside && in[0] != NULL ? -1 : 0;                                                       \
                const type *const a = ma != 0 ? in[0] + (ptrdiff_t)from * c : image;                                   \
                const int mb = inside && in[1] != NULL ? -1 : 0;                                                       \
                const type *const b = mb != 0 ? in[1] + (ptrdiff_t)from * c : image;                                   \
                const int md = inside && in[2] != NULL ? -1 : 0;                                                       \
                const type *const d = md != 0 ? in[2] + (ptrdiff_t)from * c : image;                                   \
                const int me = inside && in[3] != NULL ? -1 : 0;                                                       \
                const type *const e = me != 0 ? in[3] + (ptrdiff_t)from * c : image;                                   \
                for (int32_t k = 0; k < n; ++k) {                                                                      \
                    q[k] = word(a[k] & ma, b[k] & mb, d[k] & md, e[k] & me);                                           \
                }                                                                                                      \
                for (int32_t k = n; k < channels; ++k) {                                                               \
                    q[k] = word(0, 0, 0, 0);                                                                           \
                }                                                                                                      \
                column += count;                                                                                       \
            }                                                                                                          \
        }                                                                                                              \
    }
#define DNNCC_WORD4(a, b, d, e)                                                                                        \
    ((uint32_t)(uint8_t)(a) | (uint32_t)(uint8_t)(b) << 8 | (uint32_t)(uint8_t)(d) << 16 | (uint32_t)(uint8_t)(e) << 24)
#define DNNCC_WORD4_FLIPPED(a, b, d, e) (DNNCC_WORD4(a, b, d, e) ^ 0x80808080u)
#define DNNCC_WORD2(a, b, d, e)                                                                                        \
    ((void)(d), (void)(e), (uint32_t)(uint16_t)(a) | (uint32_t)(uint16_t)(b) << 16)
DNNCC_ROWS(dnncc_rows_u8x4_u8, uint8_t, 4, DNNCC_WORD4)
DNNCC_ROWS(dnncc_rows_u8x4_i8, int8_t, 4, DNNCC_WORD4_FLIPPED)
DNNCC_ROWS(dnncc_rows_i8x4_i8, int8_t, 4, DNNCC_WORD4)
DNNCC_ROWS(dnncc_rows_i8x4_u8, uint8_t, 4, DNNCC_WORD4_FLIPPED)
DNNCC_ROWS(dnncc_rows_i16x2_u8, uint8_t, 2, DNNCC_WORD2)
DNNCC_ROWS(dnncc_rows_i16x2_i8, int8_t, 2, DNNCC_WORD2)

#endif
