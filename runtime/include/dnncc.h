/* dnncc.h: the small kernels that generated networks are made of.
 *
 * C99, no libc beyond memcpy, memset and memmove. Every function has one meaning in bits; where a core has the DSP
 * extension (Cortex-M4, M7, M33 with DSP) an assembly form does the same with SMLAD and SMMULR.
 *
 * Rounding: dyadic requantization rounds halves up, (x * m + 2^(s-1)) >> s with an arithmetic shift.
 * Alignment: pointers marked "aligned" are multiples of 4 bytes; activations may start anywhere.
 */
#ifndef DNNCC_H
#define DNNCC_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "dnncc: weights are packed for little-endian cores"
#endif
#endif
#if ((-3) >> 1) != -2
#error "dnncc: the compiler's right shift of negative numbers is not arithmetic"
#endif

/* Return codes of NAME_run. */
#define DNNCC_OK 0
#define DNNCC_ERROR_NULL 1      /* a pointer argument is NULL */
#define DNNCC_ERROR_ALIGNMENT 2 /* an arena is not aligned to NAME_ARENA_ALIGN bytes */

#if defined(__clang__)
#define DNNCC_NO_UNROLL _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__) && __GNUC__ >= 8
#define DNNCC_NO_UNROLL _Pragma("GCC unroll 1")
#else
#define DNNCC_NO_UNROLL
#endif

#if defined(__GNUC__)
#define DNNCC_ALIGNED __attribute__((aligned(4)))
#define DNNCC_UNUSED __attribute__((unused))
#define DNNCC_NOINLINE __attribute__((noinline))
#else
#define DNNCC_ALIGNED
#define DNNCC_UNUSED
#define DNNCC_NOINLINE
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(DNNCC_PORTABLE)
#define DNNCC_DSP 1
#if defined(__clang__)
#define DNNCC_KERNEL static __attribute__((naked, noinline, unused))
#else /* noipa: gcc must not conclude from an empty body which registers and memory a call leaves alone */
#define DNNCC_KERNEL static __attribute__((naked, noipa, unused))
#endif
#else
#define DNNCC_DSP 0
#define DNNCC_KERNEL static DNNCC_NOINLINE DNNCC_UNUSED
#endif

/* -- scalar arithmetic --------------------------------------------------------------------------------------------- */

/* (a * b + 2^31) >> 32: the rounding high multiplication. */
static inline int32_t dnncc_mulhi_round(int32_t a, int32_t b) {
#if DNNCC_DSP
    int32_t y;
    __asm__("smmulr %0, %1, %2" : "=r"(y) : "r"(a), "r"(b));
    return y;
#else
#if defined(__GNUC__)
    if (__builtin_constant_p(b) && b > 1 && b < (1 << 30) && (b & (b - 1)) == 0) {
        /* A power of two: a shift, whose rounding cannot overflow. */
        return ((a >> (31 - __builtin_ctz((unsigned)b))) + 1) >> 1;
    }
#endif
    return (int32_t)(((int64_t)a * b + INT64_C(0x80000000)) >> 32);
#endif
}

/* clamp((x * m + 2^(shift-1)) >> shift, lo, hi) with an exact 64-bit product; shift is 0 to 62. */
static inline int32_t dnncc_requantize(int32_t x, int32_t m, int32_t shift, int32_t lo, int32_t hi) {
    const int64_t y = ((int64_t)x * m + ((INT64_C(1) << shift) >> 1)) >> shift;
    return y < lo ? lo : y > hi ? hi : (int32_t)y;
}

/* How often x, 0 < x < 2^60, can be multiplied by 4 until it is at least 2^58. */
static inline int32_t dnncc_headroom(int64_t x) {
    int32_t count = 0;
    for (int32_t step = 16; step > 0; step >>= 1) {
        if (x >> (60 - 2 * step) == 0) {
            x *= INT64_C(1) << (2 * step);
            count += step;
        }
    }
    return count;
}

/* The whole part of the square root of x, 0 <= x < 2^60, exactly: a bit per step, without a multiplication. */
static inline int32_t dnncc_isqrt(int64_t x) {
    uint64_t next = (uint64_t)x << 4;
    uint32_t rest = 0, root = 0;
    for (int32_t i = 0; i < 30; i++) {
        const uint32_t trial = root << 2 | 1u;
        rest = rest << 2 | (uint32_t)(next >> 62);
        next <<= 2;
        root <<= 1;
        if (rest >= trial) {
            rest -= trial;
            root |= 1u;
        }
    }
    return (int32_t)root;
}

static inline uint8_t dnncc_sat_u8(int32_t x) {
#if DNNCC_DSP
    uint32_t y;
    __asm__("usat %0, #8, %1" : "=r"(y) : "r"(x));
    return (uint8_t)y;
#else
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
#endif
}

static inline int8_t dnncc_sat_i8(int32_t x) {
#if DNNCC_DSP
    int32_t y;
    __asm__("ssat %0, #8, %1" : "=r"(y) : "r"(x));
    return (int8_t)y;
#else
    return (int8_t)(x < -128 ? -128 : x > 127 ? 127 : x);
#endif
}

/* The smaller and the larger of two numbers. */
#define DNNCC_EXTREMES(suffix, type)                                                                                   \
    static inline type dnncc_min##suffix(type a, type b) { return a < b ? a : b; }                                     \
    static inline type dnncc_max##suffix(type a, type b) { return a > b ? a : b; }
DNNCC_EXTREMES(, int32_t)
DNNCC_EXTREMES(u, uint32_t)
DNNCC_EXTREMES(l, int64_t)
DNNCC_EXTREMES(ul, uint64_t)
#undef DNNCC_EXTREMES
/* Of floats; what is not a number stays so. */
static inline float dnncc_minf(float a, float b) { return a < b || a != a ? a : b; }
static inline float dnncc_maxf(float a, float b) { return a > b || a != a ? a : b; }
static inline double dnncc_mind(double a, double b) { return a < b || a != a ? a : b; }
static inline double dnncc_maxd(double a, double b) { return a > b || a != a ? a : b; }

/* Signed numbers modulo 2^32 and 2^64. */
static inline uint32_t dnncc_uint32(int32_t x) { return (uint32_t)x; }
static inline uint64_t dnncc_uint64(int64_t x) { return (uint64_t)x; }

/* Quotient and remainder that round towards minus infinity, for a positive divisor. */
static inline int32_t dnncc_floordiv(int32_t a, int32_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
static inline int32_t dnncc_floormod(int32_t a, int32_t b) { return a - dnncc_floordiv(a, b) * b; }

/* -- bytes at a distance --------------------------------------------------------------------------------------------- */

/* dst[i * dst_step] = src[i * src_step] for i < n. */
DNNCC_UNUSED DNNCC_NOINLINE static void dnncc_copy_strided(void *dst, int32_t dst_step, const void *src,
                                                           int32_t src_step, int32_t n) {
    uint8_t *to = (uint8_t *)dst;
    const uint8_t *from = (const uint8_t *)src;
    for (; n > 0; --n, to += dst_step, from += src_step) {
        *to = *from;
    }
}

/* dst[i * dst_step] = value for i < n. */
DNNCC_UNUSED DNNCC_NOINLINE static void dnncc_fill_strided(void *dst, int32_t dst_step, int32_t value, int32_t n) {
    uint8_t *to = (uint8_t *)dst;
    for (; n > 0; --n, to += dst_step) {
        *to = (uint8_t)value;
    }
}

/* -- activations to 16-bit pairs ----------------------------------------------------------------------------------- */

/* Widen 4 * words bytes of one pixel of a tile to 16 bits. Of each four bytes 0 and 2 become one word of dst, 1 and 3
 * another one `pixels` words later, the order in which SXTB16 and SXTB16 ROR #8 give the weights. dst is aligned. */
#if DNNCC_DSP
#define DNNCC_WIDEN(name, type, widen)                                                                                 \
    DNNCC_UNUSED DNNCC_NOINLINE static void name(int16_t *dst, const type *src, int32_t words, int32_t pixels) {       \
        for (; words > 0; --words, src += 4, dst += 4 * pixels) {                                                      \
            uint32_t x, a, b;                                                                                          \
            memcpy(&x, src, 4);                                                                                        \
            __asm__(widen " %0, %1" : "=r"(a) : "r"(x));                                                               \
            __asm__(widen " %0, %1, ror #8" : "=r"(b) : "r"(x));                                                       \
            memcpy(dst, &a, 4);                                                                                        \
            memcpy(dst + 2 * pixels, &b, 4);                                                                           \
        }                                                                                                              \
    }
#else
#define DNNCC_WIDEN(name, type, widen)                                                                                 \
    DNNCC_UNUSED DNNCC_NOINLINE static void name(int16_t *dst, const type *src, int32_t words, int32_t pixels) {       \
        for (; words > 0; --words, src += 4, dst += 4 * pixels) {                                                      \
            dst[0] = src[0];                                                                                           \
            dst[1] = src[2];                                                                                           \
            dst[2 * pixels] = src[1];                                                                                  \
            dst[2 * pixels + 1] = src[3];                                                                              \
        }                                                                                                              \
    }
#endif
DNNCC_WIDEN(dnncc_widen_u8, uint8_t, "uxtb16")
DNNCC_WIDEN(dnncc_widen_i8, int8_t, "sxtb16")
#undef DNNCC_WIDEN

/* -- matrix kernels ------------------------------------------------------------------------------------------------ */

/* A tile of pixels times two channels: acc[2 * p + c] += sum over k of x[p][k] * w[c][k], k < 4 * words.
 * x: widened, [words][half][pixel][2], aligned; w: bytes [words][channel][4], aligned; acc: aligned. */
#if DNNCC_DSP
#define DNNCC_STEP                                                                                                     \
    "ldmia r2!, {r8, r9}\n"                                                                                            \
    "ldmia r1!, {r10, r11, r12, lr}\n"                                                                                 \
    "sxtb16 r0, r8\n"                                                                                                  \
    "smlad r4, r0, r10, r4\n"                                                                                          \
    "smlad r6, r0, r11, r6\n"                                                                                          \
    "sxtb16 r0, r8, ror #8\n"                                                                                          \
    "smlad r4, r0, r12, r4\n"                                                                                          \
    "smlad r6, r0, lr, r6\n"                                                                                           \
    "sxtb16 r0, r9\n"                                                                                                  \
    "smlad r5, r0, r10, r5\n"                                                                                          \
    "smlad r7, r0, r11, r7\n"                                                                                          \
    "sxtb16 r0, r9, ror #8\n"                                                                                          \
    "smlad r5, r0, r12, r5\n"                                                                                          \
    "smlad r7, r0, lr, r7\n"
DNNCC_KERNEL void dnncc_dot_2x2(int32_t *acc DNNCC_UNUSED, const int16_t *x DNNCC_UNUSED,
                                const int8_t *w DNNCC_UNUSED, int32_t words DNNCC_UNUSED) {
    __asm__ volatile("push {r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
                     "ldmia r0, {r4, r5, r6, r7}\n"
                     "subs r3, r3, #4\n"
                     "blt 2f\n"
                     "1:\n" DNNCC_STEP DNNCC_STEP DNNCC_STEP DNNCC_STEP "subs r3, r3, #4\n"
                     "bge 1b\n"
                     "2:\n"
                     "adds r3, r3, #4\n"
                     "beq 4f\n"
                     "3:\n" DNNCC_STEP "subs r3, r3, #1\n"
                     "bne 3b\n"
                     "4:\n"
                     "pop {r0}\n"
                     "stmia r0!, {r4, r5, r6, r7}\n"
                     "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::
                         : "memory");
}
#undef DNNCC_STEP

/* Half a step: the words of three pixels, the weights' bytes 0 and 2, or 1 and 3. */
#define DNNCC_HALF(ror)                                                                                                \
    "ldmia r1!, {r10, r11, r12}\n"                                                                                     \
    "sxtb16 r0, r3" ror "\n"                                                                                           \
    "smlad r4, r0, r10, r4\n"                                                                                          \
    "smlad r6, r0, r11, r6\n"                                                                                          \
    "smlad r8, r0, r12, r8\n"                                                                                          \
    "sxtb16 r0, lr" ror "\n"                                                                                           \
    "smlad r5, r0, r10, r5\n"                                                                                          \
    "smlad r7, r0, r11, r7\n"                                                                                          \
    "smlad r9, r0, r12, r9\n"
#define DNNCC_STEP "ldmia r2!, {r3, lr}\n" DNNCC_HALF("") DNNCC_HALF(", ror #8")
/* The sums take six registers, so the count lives on the stack. */
#define DNNCC_COUNT(n) "ldr r0, [sp, #4]\nsubs r0, r0, #" n "\nstr r0, [sp, #4]\n"
DNNCC_KERNEL void dnncc_dot_3x2(int32_t *acc DNNCC_UNUSED, const int16_t *x DNNCC_UNUSED,
                                const int8_t *w DNNCC_UNUSED, int32_t words DNNCC_UNUSED) {
    __asm__ volatile("push {r0, r3, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"
                     "ldmia r0, {r4, r5, r6, r7, r8, r9}\n" DNNCC_COUNT("4") "blt 2f\n"
                     "1:\n" DNNCC_STEP DNNCC_STEP DNNCC_STEP DNNCC_STEP DNNCC_COUNT("4") "bge 1b\n"
                     "2:\n"
                     "adds r0, r0, #4\n"
                     "str r0, [sp, #4]\n"
                     "beq 4f\n"
                     "3:\n" DNNCC_STEP DNNCC_COUNT("1") "bne 3b\n"
                     "4:\n"
                     "pop {r0, r3}\n"
                     "stmia r0!, {r4, r5, r6, r7, r8, r9}\n"
                     "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::
                         : "memory");
}
#undef DNNCC_COUNT
#undef DNNCC_STEP
#undef DNNCC_HALF
#else
#define DNNCC_DOT(name, pixels)                                                                                        \
    DNNCC_KERNEL void name(int32_t *acc, const int16_t *x, const int8_t *w, int32_t words) {                           \
        for (; words > 0; --words, x += 4 * (pixels), w += 8) {                                                        \
            int32_t p, k;                                                                                              \
            for (p = 0; p < (pixels); ++p) {                                                                           \
                for (k = 0; k < 4; ++k) {                                                                              \
                    const int32_t v = x[(k % 2) * 2 * (pixels) + 2 * p + k / 2];                                       \
                    acc[2 * p] += v * w[k];                                                                            \
                    acc[2 * p + 1] += v * w[4 + k];                                                                    \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
DNNCC_DOT(dnncc_dot_2x2, 2)
DNNCC_DOT(dnncc_dot_3x2, 3)
#undef DNNCC_DOT
#endif

/* The same with weights of few bits. w: words of unsigned fields (weight + half of the range): input h + 2 * j of channel
 * c is at bit bits * (c + 2 * h) + 16 * j; of 2 bits a word holds two times four inputs, the second 8 bits higher. */
#if DNNCC_DSP
#define DNNCC_LOAD "ldr r8, [r2], #4\n"
#define DNNCC_STEP(c0, d0, c1, d1)                                                                                     \
    "ldmia r1!, {r10, r11, r12, lr}\n"                                                                                 \
    "and r0, r9, r8" c0 "\n"                                                                                           \
    "smlad r4, r0, r10, r4\n"                                                                                          \
    "smlad r6, r0, r11, r6\n"                                                                                          \
    "and r0, r9, r8" c1 "\n"                                                                                           \
    "smlad r4, r0, r12, r4\n"                                                                                          \
    "smlad r6, r0, lr, r6\n"                                                                                           \
    "and r0, r9, r8" d0 "\n"                                                                                           \
    "smlad r5, r0, r10, r5\n"                                                                                          \
    "smlad r7, r0, r11, r7\n"                                                                                          \
    "and r0, r9, r8" d1 "\n"                                                                                           \
    "smlad r5, r0, r12, r5\n"                                                                                          \
    "smlad r7, r0, lr, r7\n"
#define DNNCC_LOW(name, mask, even, odd)                                                                               \
    DNNCC_KERNEL void name(int32_t *acc DNNCC_UNUSED, const int16_t *x DNNCC_UNUSED, const uint32_t *w DNNCC_UNUSED,   \
                           int32_t words DNNCC_UNUSED) {                                                               \
        __asm__ volatile("push {r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"                                           \
                         "ldmia r0, {r4, r5, r6, r7}\n"                                                                \
                         "mov r9, #" mask "\n"                                                                         \
                         "subs r3, r3, #4\n"                                                                           \
                         "blt 2f\n"                                                                                    \
                         "1:\n" even odd even odd "subs r3, r3, #4\n"                                                  \
                         "bge 1b\n"                                                                                    \
                         "2:\n"                                                                                        \
                         "adds r3, r3, #4\n"                                                                           \
                         "beq 4f\n"                                                                                    \
                         "3:\n" even "subs r3, r3, #1\n"                                                               \
                         "beq 4f\n" odd "subs r3, r3, #1\n"                                                            \
                         "bne 3b\n"                                                                                    \
                         "4:\n"                                                                                        \
                         "pop {r0}\n"                                                                                  \
                         "stmia r0!, {r4, r5, r6, r7}\n"                                                               \
                         "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::                                             \
                             : "memory");                                                                              \
    }
#define DNNCC_W4 DNNCC_LOAD DNNCC_STEP("", ", lsr #4", ", lsr #8", ", lsr #12")
DNNCC_LOW(dnncc_dot_2x2_w4, "0x000F000F", DNNCC_W4, DNNCC_W4)
DNNCC_LOW(dnncc_dot_2x2_w2, "0x00030003", DNNCC_LOAD DNNCC_STEP("", ", lsr #2", ", lsr #4", ", lsr #6"),
          DNNCC_STEP(", lsr #8", ", lsr #10", ", lsr #12", ", lsr #14"))
#undef DNNCC_W4
#undef DNNCC_LOW
#undef DNNCC_STEP
#undef DNNCC_LOAD

#define DNNCC_LOAD "ldr r3, [r2], #4\n"
#define DNNCC_HALF(c, d)                                                                                               \
    "ldmia r1!, {r10, r11, r12}\n"                                                                                     \
    "and r0, lr, r3" c "\n"                                                                                            \
    "smlad r4, r0, r10, r4\n"                                                                                          \
    "smlad r6, r0, r11, r6\n"                                                                                          \
    "smlad r8, r0, r12, r8\n"                                                                                          \
    "and r0, lr, r3" d "\n"                                                                                            \
    "smlad r5, r0, r10, r5\n"                                                                                          \
    "smlad r7, r0, r11, r7\n"                                                                                          \
    "smlad r9, r0, r12, r9\n"
/* The sums take six registers, so the count lives on the stack. */
#define DNNCC_COUNT(n) "ldr r0, [sp, #4]\nsubs r0, r0, #" n "\nstr r0, [sp, #4]\n"
#define DNNCC_LOW(name, mask, even, odd)                                                                               \
    DNNCC_KERNEL void name(int32_t *acc DNNCC_UNUSED, const int16_t *x DNNCC_UNUSED, const uint32_t *w DNNCC_UNUSED,   \
                           int32_t words DNNCC_UNUSED) {                                                               \
        __asm__ volatile("push {r0, r3, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"                                       \
                         "ldmia r0, {r4, r5, r6, r7, r8, r9}\n"                                                        \
                         "mov lr, #" mask "\n" DNNCC_COUNT("4") "blt 2f\n"                                             \
                         "1:\n" even odd even odd DNNCC_COUNT("4") "bge 1b\n"                                          \
                         "2:\n"                                                                                        \
                         "adds r0, r0, #4\n"                                                                           \
                         "str r0, [sp, #4]\n"                                                                          \
                         "beq 4f\n"                                                                                    \
                         "3:\n" even DNNCC_COUNT("1") "beq 4f\n" odd DNNCC_COUNT("1") "bne 3b\n"                       \
                         "4:\n"                                                                                        \
                         "pop {r0, r3}\n"                                                                              \
                         "stmia r0!, {r4, r5, r6, r7, r8, r9}\n"                                                       \
                         "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::                                             \
                             : "memory");                                                                              \
    }
#define DNNCC_W4 DNNCC_LOAD DNNCC_HALF("", ", lsr #4") DNNCC_HALF(", lsr #8", ", lsr #12")
DNNCC_LOW(dnncc_dot_3x2_w4, "0x000F000F", DNNCC_W4, DNNCC_W4)
DNNCC_LOW(dnncc_dot_3x2_w2, "0x00030003", DNNCC_LOAD DNNCC_HALF("", ", lsr #2") DNNCC_HALF(", lsr #4", ", lsr #6"),
          DNNCC_HALF(", lsr #8", ", lsr #10") DNNCC_HALF(", lsr #12", ", lsr #14"))
#undef DNNCC_W4
#undef DNNCC_LOW
#undef DNNCC_COUNT
#undef DNNCC_HALF
#undef DNNCC_LOAD
#else
#define DNNCC_LOW(name, pixels, bits)                                                                                  \
    DNNCC_KERNEL void name(int32_t *acc, const int16_t *x, const uint32_t *w, int32_t words) {                         \
        int32_t g, p, k;                                                                                               \
        for (g = 0; g < words; ++g, x += 4 * (pixels)) {                                                               \
            const uint32_t v = (bits) == 4 ? w[g] : w[g >> 1] >> (8 * (g & 1));                                        \
            for (k = 0; k < 4; ++k) {                                                                                  \
                const uint32_t field = v >> (2 * (bits) * (k % 2) + 16 * (k / 2));                                     \
                const int32_t c = (int32_t)(field & ((1u << (bits)) - 1u));                                            \
                const int32_t d = (int32_t)((field >> (bits)) & ((1u << (bits)) - 1u));                                \
                for (p = 0; p < (pixels); ++p) {                                                                       \
                    const int32_t value = x[(k % 2) * 2 * (pixels) + 2 * p + k / 2];                                   \
                    acc[2 * p] += value * c;                                                                           \
                    acc[2 * p + 1] += value * d;                                                                       \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
DNNCC_LOW(dnncc_dot_2x2_w4, 2, 4)
DNNCC_LOW(dnncc_dot_2x2_w2, 2, 2)
DNNCC_LOW(dnncc_dot_3x2_w4, 3, 4)
DNNCC_LOW(dnncc_dot_3x2_w2, 3, 2)
#undef DNNCC_LOW
#endif

/* The sum of a tile's inputs: acc[p] += scale * sum over k of x[p][k], k < 4 * words. x: as above; scale: 16 bits. */
#if DNNCC_DSP
#define DNNCC_TOTALS(name, sums, step)                                                                    \
    DNNCC_KERNEL void name(int32_t *acc DNNCC_UNUSED, const int16_t *x DNNCC_UNUSED, int32_t words DNNCC_UNUSED,       \
                           int32_t scale DNNCC_UNUSED) {                                                               \
        __asm__ volatile("push {r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"                                               \
                         "orr r3, r3, r3, lsl #16\n"                                                                   \
                         "ldmia r0, " sums "\n"                                                                        \
                         "1:\n" step "subs r2, r2, #1\n"                                                               \
                         "bne 1b\n"                                                                                    \
                         "stmia r0, " sums "\n"                                                                        \
                         "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::                                             \
                             : "memory");                                                                              \
    }
DNNCC_TOTALS(dnncc_totals_2, "{r4, r5}",
             "ldmia r1!, {r7, r8, r9, r10}\n"
             "smlad r4, r7, r3, r4\n"
             "smlad r5, r8, r3, r5\n"
             "smlad r4, r9, r3, r4\n"
             "smlad r5, r10, r3, r5\n")
DNNCC_TOTALS(dnncc_totals_3, "{r4, r5, r6}",
             "ldmia r1!, {r7, r8, r9, r10, r11, r12}\n"
             "smlad r4, r7, r3, r4\n"
             "smlad r5, r8, r3, r5\n"
             "smlad r6, r9, r3, r6\n"
             "smlad r4, r10, r3, r4\n"
             "smlad r5, r11, r3, r5\n"
             "smlad r6, r12, r3, r6\n")
#else
#define DNNCC_TOTALS(name, pixels)                                                                                     \
    DNNCC_KERNEL void name(int32_t *acc, const int16_t *x, int32_t words, int32_t scale) {                             \
        int32_t p;                                                                                                     \
        for (words *= 2; words > 0; --words, x += 2 * (pixels)) {                                                      \
            for (p = 0; p < (pixels); ++p) {                                                                           \
                acc[p] += scale * (x[2 * p] + x[2 * p + 1]);                                                           \
            }                                                                                                          \
        }                                                                                                              \
    }
DNNCC_TOTALS(dnncc_totals_2, 2)
DNNCC_TOTALS(dnncc_totals_3, 3)
#endif
#undef DNNCC_TOTALS

/* One vector times four rows: acc[r] += sum over k of x[k] * w[r][k], k < 4 * words. w: bytes [words][row][4], aligned. */
#if DNNCC_DSP
#define DNNCC_ROW(sum, row)                                                                                            \
    "sxtb16 r0, " row "\n"                                                                                             \
    "smlad " sum ", r0, r9, " sum "\n"                                                                                 \
    "sxtb16 r0, " row ", ror #8\n"                                                                                     \
    "smlad " sum ", r0, r8, " sum "\n"
#define DNNCC_STEP(widen)                                                                                              \
    "ldr r8, [r1], #4\n"                                                                                               \
    "ldmia r2!, {r10, r11, r12, lr}\n" widen " r9, r8\n" widen " r8, r8, ror #8\n" DNNCC_ROW("r4", "r10")              \
        DNNCC_ROW("r5", "r11") DNNCC_ROW("r6", "r12") DNNCC_ROW("r7", "lr")
#define DNNCC_DOT_1X4(name, type, widen)                                                                               \
    DNNCC_KERNEL void name(int32_t *acc DNNCC_UNUSED, const type *x DNNCC_UNUSED, const int8_t *w DNNCC_UNUSED,        \
                           int32_t words DNNCC_UNUSED) {                                                               \
        __asm__ volatile("push {r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"                                           \
                         "ldmia r0, {r4, r5, r6, r7}\n"                                                                 \
                         "subs r3, r3, #2\n"                                                                           \
                         "blt 2f\n"                                                                                    \
                         "1:\n" DNNCC_STEP(widen) DNNCC_STEP(widen) "subs r3, r3, #2\n"                                \
                         "bge 1b\n"                                                                                    \
                         "2:\n"                                                                                        \
                         "adds r3, r3, #2\n"                                                                           \
                         "beq 4f\n" DNNCC_STEP(widen) "4:\n"                                                           \
                         "pop {r0}\n"                                                                                  \
                         "stmia r0!, {r4, r5, r6, r7}\n"                                                               \
                         "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::: "memory");                                              \
    }
#else
#define DNNCC_DOT_1X4(name, type, widen)                                                                               \
    DNNCC_KERNEL void name(int32_t *acc, const type *x, const int8_t *w, int32_t words) {                              \
        int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];                                                                \
        for (; words > 0; --words, x += 4, w += 16) {                                                                  \
            int32_t i;                                                                                                 \
            for (i = 0; i < 4; ++i) {                                                                                  \
                const int32_t v = x[i];                                                                                \
                a0 += v * w[i];                                                                                        \
                a1 += v * w[4 + i];                                                                                    \
                a2 += v * w[8 + i];                                                                                    \
                a3 += v * w[12 + i];                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
        acc[0] = a0;                                                                                                   \
        acc[1] = a1;                                                                                                   \
        acc[2] = a2;                                                                                                   \
        acc[3] = a3;                                                                                                   \
    }
#endif
DNNCC_DOT_1X4(dnncc_dot_1x4_u8, uint8_t, "uxtb16")
DNNCC_DOT_1X4(dnncc_dot_1x4_i8, int8_t, "sxtb16")
#undef DNNCC_DOT_1X4
#undef DNNCC_ROW
#undef DNNCC_STEP

/* The same with weights of few bits. w: words of unsigned fields as above, two side by side for four rows. */
#if DNNCC_DSP
#define DNNCC_LOAD "ldmia r2!, {r10, r11}\n"
#define DNNCC_ROWS(a, b, word, c, d, c1, d1)                                                                           \
    "and r0, r12, " word c "\n"                                                                                        \
    "smlad " a ", r0, r9, " a "\n"                                                                                     \
    "and r0, r12, " word c1 "\n"                                                                                       \
    "smlad " a ", r0, r8, " a "\n"                                                                                     \
    "and r0, r12, " word d "\n"                                                                                        \
    "smlad " b ", r0, r9, " b "\n"                                                                                     \
    "and r0, r12, " word d1 "\n"                                                                                       \
    "smlad " b ", r0, r8, " b "\n"
#define DNNCC_STEP(widen, c, d, c1, d1)                                                                                \
    "ldr r8, [r1], #4\n" widen " r9, r8\n" widen " r8, r8, ror #8\n" DNNCC_ROWS("r4", "r5", "r10", c, d, c1, d1)       \
        DNNCC_ROWS("r6", "r7", "r11", c, d, c1, d1)
#define DNNCC_LOW(name, type, mask, even, odd)                                                                         \
    DNNCC_KERNEL void name(int32_t *acc DNNCC_UNUSED, const type *x DNNCC_UNUSED, const uint32_t *w DNNCC_UNUSED,      \
                           int32_t words DNNCC_UNUSED) {                                                               \
        __asm__ volatile("push {r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"                                           \
                         "ldmia r0, {r4, r5, r6, r7}\n"                                                                \
                         "mov r12, #" mask "\n"                                                                        \
                         "subs r3, r3, #2\n"                                                                           \
                         "blt 2f\n"                                                                                    \
                         "1:\n" even odd "subs r3, r3, #2\n"                                                           \
                         "bge 1b\n"                                                                                    \
                         "2:\n"                                                                                        \
                         "adds r3, r3, #2\n"                                                                           \
                         "beq 4f\n" even "4:\n"                                                                        \
                         "pop {r0}\n"                                                                                  \
                         "stmia r0!, {r4, r5, r6, r7}\n"                                                               \
                         "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::                                             \
                             : "memory");                                                                              \
    }
#define DNNCC_LOW_1X4(suffix, type, widen)                                                                             \
    DNNCC_LOW(dnncc_dot_1x4_##suffix##_w4, type, "0x000F000F",                                                         \
              DNNCC_LOAD DNNCC_STEP(widen, "", ", lsr #4", ", lsr #8", ", lsr #12"),                                   \
              DNNCC_LOAD DNNCC_STEP(widen, "", ", lsr #4", ", lsr #8", ", lsr #12"))                                   \
    DNNCC_LOW(dnncc_dot_1x4_##suffix##_w2, type, "0x00030003",                                                         \
              DNNCC_LOAD DNNCC_STEP(widen, "", ", lsr #2", ", lsr #4", ", lsr #6"),                                    \
              DNNCC_STEP(widen, ", lsr #8", ", lsr #10", ", lsr #12", ", lsr #14"))
#else
#define DNNCC_LOW(name, type, bits)                                                                                    \
    DNNCC_KERNEL void name(int32_t *acc, const type *x, const uint32_t *w, int32_t words) {                            \
        int32_t g, r, i;                                                                                               \
        for (g = 0; g < words; ++g, x += 4) {                                                                          \
            for (r = 0; r < 4; ++r) {                                                                                  \
                const uint32_t word = w[2 * ((bits) == 4 ? g : g >> 1) + r / 2];                                       \
                const uint32_t fields = word >> ((bits) * (r % 2) + ((bits) == 4 ? 0 : 8 * (g & 1)));                  \
                for (i = 0; i < 4; ++i) {                                                                              \
                    const uint32_t field = fields >> (2 * (bits) * (i % 2) + 16 * (i / 2));                            \
                    acc[r] += x[i] * (int32_t)(field & ((1u << (bits)) - 1u));                                         \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
#define DNNCC_LOW_1X4(suffix, type, widen)                                                                             \
    DNNCC_LOW(dnncc_dot_1x4_##suffix##_w4, type, 4)                                                                    \
    DNNCC_LOW(dnncc_dot_1x4_##suffix##_w2, type, 2)
#endif
DNNCC_LOW_1X4(u8, uint8_t, "uxtb16")
DNNCC_LOW_1X4(i8, int8_t, "sxtb16")
#undef DNNCC_LOW_1X4
#undef DNNCC_LOW
#undef DNNCC_STEP
#undef DNNCC_ROWS
#undef DNNCC_LOAD

/* -- depthwise ----------------------------------------------------------------------------------------------------- */

/* Four channels of one output pixel, 3x3: acc[c] += sum over the taps of x[tap][c] * w[tap][c].
 * x: the window's first tap; the next row is row bytes further, the next column col bytes. w: bytes [9][4], aligned. */
#if DNNCC_DSP
/* One tap: its weights' bytes in register w, its activations at the address. Channels 0 and 2, then 1 and 3. */
#define DNNCC_TAP(w, address, widen)                                                                                   \
    "ldr r0, " address "\n"                                                                                            \
    "sxtb16 r12, " w "\n" widen " lr, r0\n"                                                                            \
    "smlabb r4, lr, r12, r4\n"                                                                                         \
    "smlatt r6, lr, r12, r6\n"                                                                                         \
    "sxtb16 r12, " w ", ror #8\n" widen " lr, r0, ror #8\n"                                                            \
    "smlabb r5, lr, r12, r5\n"                                                                                         \
    "smlatt r7, lr, r12, r7\n"
#define DNNCC_TAPS(widen)                                                                                              \
    "ldmia r2!, {r9, r10, r11}\n" DNNCC_TAP("r9", "[r1]", widen) DNNCC_TAP("r10", "[r1, r8]", widen)                   \
        DNNCC_TAP("r11", "[r1, r8, lsl #1]", widen)
#define DNNCC_DW_3X3(name, type, widen)                                                                                \
    DNNCC_KERNEL void name(int32_t *acc DNNCC_UNUSED, const type *x DNNCC_UNUSED, const int8_t *w DNNCC_UNUSED,        \
                           int32_t row DNNCC_UNUSED, int32_t col DNNCC_UNUSED) {                                       \
        __asm__ volatile("push {r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"                                           \
                         "ldr r8, [sp, #40]\n"                                                                         \
                         "ldmia r0, {r4, r5, r6, r7}\n" DNNCC_TAPS(widen) "add r1, r1, r3\n" DNNCC_TAPS(               \
                             widen) "add r1, r1, r3\n" DNNCC_TAPS(widen) "pop {r0}\n"                                  \
                         "stmia r0!, {r4, r5, r6, r7}\n"                                                               \
                         "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::: "memory");                                              \
    }
#else
#define DNNCC_DW_3X3(name, type, widen)                                                                                \
    DNNCC_KERNEL void name(int32_t *acc, const type *x, const int8_t *w, int32_t row, int32_t col) {                   \
        int32_t i, j, c;                                                                                               \
        /* Counted by rows and columns: a tap over 3 would be a division on a core without one. */                     \
        for (i = 0; i < 3; ++i, x += row) {                                                                            \
            for (j = 0; j < 3; ++j, w += 4) {                                                                          \
                for (c = 0; c < 4; ++c) {                                                                              \
                    acc[c] += x[j * col + c] * w[c];                                                                   \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
#endif
DNNCC_DW_3X3(dnncc_dw_3x3_u8, uint8_t, "uxtb16")
DNNCC_DW_3X3(dnncc_dw_3x3_i8, int8_t, "sxtb16")
#undef DNNCC_DW_3X3
#undef DNNCC_TAPS

/* The same with weights of 4 bits. w: a word for two taps, channel c of the first in bits 8 * c + 4 to 8 * c + 7, of the
 * second in bits 8 * c to 8 * c + 3: under a mask they are bytes, 16 times the weights. The sums are so, too, meanwhile. */
#if DNNCC_DSP
#define DNNCC_FIRST "ldr r9, [r2], #4\nand r10, r11, r9\n"
#define DNNCC_SECOND "and r10, r11, r9, lsl #4\n"
#define DNNCC_DW_3X3(name, type, widen)                                                                                \
    DNNCC_KERNEL void name(int32_t *acc DNNCC_UNUSED, const type *x DNNCC_UNUSED, const uint32_t *w DNNCC_UNUSED,      \
                           int32_t row DNNCC_UNUSED, int32_t col DNNCC_UNUSED) {                                       \
        __asm__ volatile("push {r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n"                                           \
                         "ldr r8, [sp, #40]\n"                                                                         \
                         "mov r11, #0xF0F0F0F0\n"                                                                      \
                         "ldmia r0, {r4, r5, r6, r7}\n"                                                                \
                         "lsls r4, r4, #4\nlsls r5, r5, #4\nlsls r6, r6, #4\nlsls r7, r7, #4\n"                        \
                         DNNCC_FIRST DNNCC_TAP("r10", "[r1]", widen)                                                   \
                         DNNCC_SECOND DNNCC_TAP("r10", "[r1, r8]", widen)                                              \
                         DNNCC_FIRST DNNCC_TAP("r10", "[r1, r8, lsl #1]", widen) "add r1, r1, r3\n"                    \
                         DNNCC_SECOND DNNCC_TAP("r10", "[r1]", widen)                                                  \
                         DNNCC_FIRST DNNCC_TAP("r10", "[r1, r8]", widen)                                               \
                         DNNCC_SECOND DNNCC_TAP("r10", "[r1, r8, lsl #1]", widen) "add r1, r1, r3\n"                   \
                         DNNCC_FIRST DNNCC_TAP("r10", "[r1]", widen)                                                   \
                         DNNCC_SECOND DNNCC_TAP("r10", "[r1, r8]", widen)                                              \
                         DNNCC_FIRST DNNCC_TAP("r10", "[r1, r8, lsl #1]", widen)                                       \
                         "asrs r4, r4, #4\nasrs r5, r5, #4\nasrs r6, r6, #4\nasrs r7, r7, #4\n"                        \
                         "pop {r0}\n"                                                                                  \
                         "stmia r0!, {r4, r5, r6, r7}\n"                                                               \
                         "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n" ::                                             \
                             : "memory");                                                                              \
    }
#else
#define DNNCC_DW_3X3(name, type, widen)                                                                                \
    DNNCC_KERNEL void name(int32_t *acc, const type *x, const uint32_t *w, int32_t row, int32_t col) {                 \
        int32_t i, j, c, tap = 0;                                                                                      \
        for (i = 0; i < 3; ++i, x += row) {                                                                            \
            for (j = 0; j < 3; ++j, ++tap) {                                                                           \
                for (c = 0; c < 4; ++c) {                                                                              \
                    const uint32_t field = (w[tap >> 1] >> (8 * c + 4 * (1 - (tap & 1)))) & 15u;                       \
                    acc[c] += x[j * col + c] * ((int32_t)(field ^ 8u) - 8);                                            \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }
#endif
DNNCC_DW_3X3(dnncc_dw_3x3_u8_w4, uint8_t, "uxtb16")
DNNCC_DW_3X3(dnncc_dw_3x3_i8_w4, int8_t, "sxtb16")
#undef DNNCC_DW_3X3
#undef DNNCC_SECOND
#undef DNNCC_FIRST
#undef DNNCC_TAP

#endif /* DNNCC_H */
