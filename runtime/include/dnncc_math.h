/* dnncc_math.h: the functions of real numbers that float networks call; included only where they are used.
 *
 * C99, no libm. Arguments and results are IEEE single precision; all of them may be subnormal, infinite or not a number,
 * and results are those that C99's Annex F gives there. Largest error over all arguments, in units of the last place
 * (ulp) of the result, against double precision:
 *
 *     sqrtf 1, expf 2, expm1f 3, logf 2, log1pf 3, tanhf 4, sinhf 4, coshf 4, erff 3, sinf 3, cosf 3, tanf 5,
 *     asinf 4, acosf 4, atanf 3, asinhf 5, acoshf 5, atanhf 5, powf 1; floorf, ceilf, truncf, nearbyintf, fmodf,
 *     fabsf exact.
 *
 * powf alone computes in double precision. Must not be compiled with -ffast-math.
 */
#ifndef DNNCC_MATH_H
#define DNNCC_MATH_H

#include "dnncc.h"

#define DNNCC_MATH DNNCC_UNUSED DNNCC_NOINLINE static

static inline uint32_t dnncc_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

static inline float dnncc_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static inline float dnncc_fabsf(float x) { return dnncc_of_bits(dnncc_bits(x) & UINT32_C(0x7fffffff)); }
static inline float dnncc_copysignf(float x, float sign) {
    return dnncc_of_bits((dnncc_bits(x) & UINT32_C(0x7fffffff)) | (dnncc_bits(sign) & UINT32_C(0x80000000)));
}
static inline uint8_t dnncc_isnanf(float x) { return (dnncc_bits(x) & UINT32_C(0x7fffffff)) > UINT32_C(0x7f800000); }
static inline float dnncc_infinity(void) { return dnncc_of_bits(UINT32_C(0x7f800000)); }
static inline float dnncc_nan(void) { return dnncc_of_bits(UINT32_C(0x7fc00000)); }

/* 2^n for -126 <= n <= 127. */
static inline float dnncc_power_of_two(int32_t n) { return dnncc_of_bits((uint32_t)(n + 127) << 23); }

/* -- rounding ------------------------------------------------------------------------------------------------------ */

/* From 2^23 on every number is whole; below it fits an int32. The sign of zero is kept. */
DNNCC_MATH float dnncc_truncf(float x) {
    return dnncc_fabsf(x) < 8388608.0f ? dnncc_copysignf((float)(int32_t)x, x) : x;
}

DNNCC_MATH float dnncc_floorf(float x) {
    const float y = dnncc_truncf(x);
    return y > x ? y - 1.0f : y;
}

DNNCC_MATH float dnncc_ceilf(float x) {
    const float y = dnncc_truncf(x);
    return y < x ? dnncc_copysignf(y + 1.0f, x) : y;
}

/* To the nearest whole number, halves to the even one. */
DNNCC_MATH float dnncc_nearbyintf(float x) {
    const float y = dnncc_truncf(x), rest = dnncc_fabsf(x - y);
    if (!(dnncc_fabsf(x) < 8388608.0f) || rest < 0.5f || (rest <= 0.5f && ((int32_t)y & 1) == 0)) {
        return y;
    }
    return y + dnncc_copysignf(1.0f, x);
}

/* The bits of a positive number become a 24-bit mantissa; returns its biased exponent, below 1 for subnormal numbers. */
static inline int32_t dnncc_whole(uint32_t *bits) {
    int32_t exponent = (int32_t)(*bits >> 23);
    if (exponent > 0) {
        *bits = (*bits & UINT32_C(0x7fffff)) | UINT32_C(0x800000);
        return exponent;
    }
    for (exponent = 1; *bits < UINT32_C(0x800000); *bits <<= 1) {
        --exponent;
    }
    return exponent;
}

/* The exact remainder of x / y with the sign of x: subtraction of shifted multiples, as on paper. */
DNNCC_MATH float dnncc_fmodf(float x, float y) {
    uint32_t a = dnncc_bits(x) & UINT32_C(0x7fffffff), b = dnncc_bits(y) & UINT32_C(0x7fffffff);
    int32_t shift, exponent;
    if (a >= UINT32_C(0x7f800000) || b > UINT32_C(0x7f800000) || b == 0u) {
        return dnncc_nan();
    }
    if (a < b) {
        return x;
    }
    shift = dnncc_whole(&a);
    exponent = dnncc_whole(&b);
    for (shift -= exponent;; a <<= 1, --shift) {
        a = a >= b ? a - b : a;
        if (shift == 0) {
            break;
        }
    }
    if (exponent < 1) { /* both are multiples of the smallest number, and so is what remains */
        a >>= 1 - exponent;
        exponent = 1;
    }
    for (; a != 0u && a < UINT32_C(0x800000) && exponent > 1; --exponent) {
        a <<= 1;
    }
    a = a < UINT32_C(0x800000) ? a : (a & UINT32_C(0x7fffff)) | (uint32_t)exponent << 23;
    return dnncc_copysignf(dnncc_of_bits(a), x);
}

/* -- roots, exponentials, logarithms ------------------------------------------------------------------------------- */

/* Square root: Newton's iteration from half the exponent. */
DNNCC_MATH float dnncc_sqrtf(float x) {
    float y, scale = 1.0f;
    if (!(x > 0.0f) || x >= dnncc_infinity()) {
        return x < 0.0f ? dnncc_nan() : x;
    }
    if (x < 1.17549435e-38f) {
        x *= 16777216.0f;
        scale = 1.0f / 4096.0f;
    }
    y = dnncc_of_bits((dnncc_bits(x) >> 1) + UINT32_C(0x1fbb4f2e));
    y = 0.5f * (y + x / y);
    y = 0.5f * (y + x / y);
    return 0.5f * (y + x / y) * scale;
}

/* n and r with x = n ln 2 + r, |r| <= ln(2) / 2; returns e^r - 1. */
static inline float dnncc_reduced_expm1(float x, int32_t *n) {
    float r, q;
    *n = (int32_t)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
    r = x - (float)*n * 0.693359375f;
    r = r + (float)*n * 2.12194440e-4f;
    q = 0.041666206f + r * (0.0083689177f + r * 0.0013950538f);
    q = 0.5f + r * (0.16666518f + r * q);
    return r + r * r * q;
}

DNNCC_MATH float dnncc_expf(float x) {
    int32_t n, half;
    float y;
    if (!(x > -104.0f)) {
        return x < 0.0f ? 0.0f : x; /* underflow, or not a number */
    }
    if (x > 88.73f) {
        return dnncc_infinity();
    }
    y = 1.0f + dnncc_reduced_expm1(x, &n);
    half = n / 2; /* in two steps: 2^n may be subnormal, or one too large */
    return y * dnncc_power_of_two(half) * dnncc_power_of_two(n - half);
}

/* e^x - 1 without cancellation. */
DNNCC_MATH float dnncc_expm1f(float x) {
    int32_t n;
    float y, power;
    if (!(x > -17.4f)) {
        return x < 0.0f ? -1.0f : x;
    }
    if (x > 17.4f) {
        return dnncc_expf(x) - 1.0f;
    }
    y = dnncc_reduced_expm1(x, &n);
    power = dnncc_power_of_two(n);
    return n == 0 ? y : y * power + (power - 1.0f);
}

/* log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2), plus n ln 2. */
static inline float dnncc_reduced_log(float f, float n) {
    float y = 0.14218158f + f * (-0.12383276f + f * (0.11875842f + f * (-0.11797839f + f * 0.069185741f)));
    y = 0.3333331f + f * (-0.24999987f + f * (0.2000225f + f * (-0.16669291f + f * y)));
    y = f * f * f * y + n * -2.12194440e-4f;
    y = y - 0.5f * f * f;
    return n * 0.693359375f + (f + y);
}

/* x = (1 + f) * 2^n for positive finite x. */
static inline float dnncc_split(float x, int32_t *n) {
    int32_t exponent = 0;
    uint32_t bits;
    if (x < 1.17549435e-38f) {
        x *= 8388608.0f;
        exponent = -23;
    }
    bits = dnncc_bits(x) + (UINT32_C(0x3f800000) - UINT32_C(0x3f3504f3));
    *n = exponent + (int32_t)(bits >> 23) - 127;
    return dnncc_of_bits((bits & UINT32_C(0x007fffff)) + UINT32_C(0x3f3504f3)) - 1.0f;
}

DNNCC_MATH float dnncc_logf(float x) {
    int32_t n;
    float f;
    if (!(x > 0.0f) || x >= dnncc_infinity()) {
        return x < 0.0f ? dnncc_nan() : dnncc_fabsf(x) > 0.0f || dnncc_isnanf(x) ? x : -dnncc_infinity();
    }
    f = dnncc_split(x, &n);
    return dnncc_reduced_log(f, (float)n);
}

/* log(1 + x) without cancellation: the rounding of 1 + x is made good to first order. */
DNNCC_MATH float dnncc_log1pf(float x) {
    int32_t n;
    float u, f;
    if (!(x > -1.0f) || x >= dnncc_infinity()) {
        return x < -1.0f ? dnncc_nan() : x <= -1.0f ? -dnncc_infinity() : x;
    }
    if (x > -0.29f && x < 0.41f) {
        return dnncc_reduced_log(x, 0.0f);
    }
    u = 1.0f + x;
    f = dnncc_split(u, &n);
    return dnncc_reduced_log(f, (float)n) + (x < 1.0f ? x - (u - 1.0f) : 1.0f - (u - x)) / u;
}

/* x^y, in double precision: 2^(y log2 x). */
DNNCC_MATH float dnncc_powf(float x, float y) {
    const float magnitude = dnncc_fabsf(x), whole = dnncc_truncf(y);
    const int is_whole = whole >= y && whole <= y;
    /* From 2^24 on every number is even. */
    const int is_odd = is_whole && dnncc_fabsf(y) < 16777216.0f && ((int32_t)y & 1) != 0;
    const float sign = is_odd && (dnncc_bits(x) >> 31) != 0u ? -1.0f : 1.0f;
    double s, z, t, r;
    int32_t n, half;
    if ((dnncc_fabsf(y) <= 0.0f) || (x >= 1.0f && x <= 1.0f)) {
        return 1.0f;
    }
    if (dnncc_isnanf(x) || dnncc_isnanf(y)) {
        return dnncc_nan();
    }
    if (magnitude <= 0.0f) {
        return y > 0.0f ? sign * 0.0f : sign * dnncc_infinity();
    }
    if (magnitude >= dnncc_infinity()) {
        return y > 0.0f ? sign * dnncc_infinity() : sign * 0.0f;
    }
    if (dnncc_fabsf(y) >= dnncc_infinity()) {
        if (magnitude >= 1.0f && magnitude <= 1.0f) {
            return 1.0f;
        }
        return (magnitude > 1.0f) == (y > 0.0f) ? dnncc_infinity() : 0.0f;
    }
    if (x < 0.0f && !is_whole) {
        return dnncc_nan();
    }
    /* log2(1 + f) = 2 / ln 2 * artanh(s), s = f / (2 + f), |s| < 0.172. */
    s = (double)dnncc_split(magnitude, &n);
    s = s / (2.0 + s);
    z = s * s;
    t = 1.0 / 7.0 + z * (1.0 / 9.0 + z * (1.0 / 11.0 + z * (1.0 / 13.0)));
    t = s * (1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * t)));
    t = (double)y * ((double)n + t * 2.8853900817779268);
    if (t >= 128.0) {
        return sign * dnncc_infinity();
    }
    if (t < -151.0) {
        return sign * 0.0f;
    }
    n = (int32_t)(t + (t < 0.0 ? -0.5 : 0.5));
    r = (t - (double)n) * 0.69314718055994531;
    t = 1.0 + r / 5.0 * (1.0 + r / 6.0 * (1.0 + r / 7.0 * (1.0 + r / 8.0)));
    t = 1.0 + r * (1.0 + r / 2.0 * (1.0 + r / 3.0 * (1.0 + r / 4.0 * t)));
    half = n / 2; /* in double precision, so that the result is rounded once */
    return sign * (float)(t * (double)dnncc_power_of_two(half) * (double)dnncc_power_of_two(n - half));
}

/* -- hyperbolic functions and the error function ------------------------------------------------------------------- */

DNNCC_MATH float dnncc_tanhf(float x) {
    const float a = dnncc_fabsf(x);
    float t;
    if (dnncc_isnanf(x) || a < 1e-4f) {
        return x;
    }
    t = a > 9.1f ? 1.0f : dnncc_expm1f(2.0f * a);
    return dnncc_copysignf(a > 9.1f ? 1.0f : t / (t + 2.0f), x);
}

DNNCC_MATH float dnncc_sinhf(float x) {
    const float a = dnncc_fabsf(x);
    float t;
    if (a < 1e-4f) {
        return x;
    }
    if (a > 17.0f) { /* e^a may be too large where half of it is not */
        t = dnncc_expf(0.5f * a);
        return dnncc_copysignf(0.5f * t * t, x);
    }
    t = dnncc_expm1f(a);
    return dnncc_copysignf(0.5f * (t + t / (t + 1.0f)), x);
}

DNNCC_MATH float dnncc_coshf(float x) {
    const float a = dnncc_fabsf(x);
    float t;
    if (a > 17.0f) {
        t = dnncc_expf(0.5f * a);
        return 0.5f * t * t;
    }
    t = dnncc_expf(a);
    return 0.5f * t + 0.5f / t;
}

/* A polynomial up to 1; beyond it 1 - e^(-x^2) times one of 1 / (1 + x). */
DNNCC_MATH float dnncc_erff(float x) {
    const float a = dnncc_fabsf(x);
    float t, y;
    if (a < 1.0f) {
        t = x * x;
        y = -0.026854355f + t * (0.0051893843f + t * (-0.00080196292f + t * 7.8853838e-05f));
        return x * (1.1283791f + t * (-0.37612626f + t * (0.11283597f + t * y)));
    }
    if (!(a < 4.0f)) {
        return dnncc_isnanf(x) ? x : dnncc_copysignf(1.0f, x);
    }
    t = 1.0f / (1.0f + a);
    y = 0.90637606f + t * (-1.8754045f + t * (1.3128138f + t * -0.35013434f));
    y = -0.00088004308f + t * (0.58113509f + t * (0.4250291f + t * y));
    return dnncc_copysignf(1.0f - dnncc_expf(-a * a) * y, x);
}

DNNCC_MATH float dnncc_asinhf(float x) {
    const float a = dnncc_fabsf(x);
    float y;
    if (a < 1e-4f || dnncc_isnanf(x)) {
        return x;
    }
    if (a > 4096.0f) {
        y = dnncc_logf(a) + 0.69314718f;
    } else {
        y = dnncc_log1pf(a + a * a / (1.0f + dnncc_sqrtf(a * a + 1.0f)));
    }
    return dnncc_copysignf(y, x);
}

DNNCC_MATH float dnncc_acoshf(float x) {
    const float t = x - 1.0f;
    if (x > 4096.0f) {
        return dnncc_logf(x) + 0.69314718f;
    }
    return x < 1.0f ? dnncc_nan() : dnncc_log1pf(t + dnncc_sqrtf(2.0f * t + t * t));
}

DNNCC_MATH float dnncc_atanhf(float x) {
    const float a = dnncc_fabsf(x);
    if (a > 1.0f) {
        return dnncc_nan();
    }
    return a < 1e-4f ? x : dnncc_copysignf(0.5f * dnncc_log1pf(2.0f * a / (1.0f - a)), x);
}

/* -- circular functions -------------------------------------------------------------------------------------------- */

/* sin r and cos r for |r| <= pi / 4. */
static inline float dnncc_reduced_sin(float r) {
    const float z = r * r;
    return r + r * z * (-0.16666667f + z * (0.0083333291f + z * (-0.00019839327f + z * 2.7182373e-06f)));
}

static inline float dnncc_reduced_cos(float r) {
    const float z = r * r;
    const float y = z * z * (0.041666668f + z * (-0.0013888883f + z * (2.4799512e-05f + z * -2.7209546e-07f)));
    return 1.0f - (0.5f * z - y);
}

/* The quadrant of x, and r with x = quadrant * pi / 2 + r modulo 2 pi, |r| <= pi / 4 (after Payne and Hanek): of the
 * product of x's 24 bits and 2 / pi only the 96 bits matter whose weight is below 4 and above 2^-92. */
static inline int32_t dnncc_quadrant(float x, float *r) {
    static const uint32_t two_over_pi[8] = {
        0u,          0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu,
    };
    const uint32_t bits = dnncc_bits(x) & UINT32_C(0x7fffffff);
    const uint32_t mantissa = (bits & UINT32_C(0x7fffff)) | UINT32_C(0x800000);
    const int32_t first = (int32_t)(bits >> 23) - 120; /* x = mantissa * 2^(first - 30) */
    const uint32_t *word = two_over_pi + (first >> 5), shift = (uint32_t)first & 31u;
    uint32_t w[3];
    int32_t i, quadrant;
    uint64_t turns; /* in units of 2^-62 quadrants, modulo 4 quadrants */
    float rest;
    for (i = 0; i < 3; ++i) {
        w[i] = shift ? word[i] << shift | word[i + 1] >> (32u - shift) : word[i];
    }
    turns = ((uint64_t)mantissa * w[0] << 32) + (uint64_t)mantissa * w[1] + ((uint64_t)mantissa * w[2] >> 32);
    quadrant = (int32_t)((turns + (UINT64_C(1) << 61)) >> 62);
    turns -= (uint64_t)quadrant << 62;
    rest = turns >> 63 ? -(float)(0u - turns) : (float)turns;
    rest *= 3.4061215800e-19f; /* pi / 2 * 2^-62 */
    *r = bits == dnncc_bits(x) ? rest : -rest;
    return bits == dnncc_bits(x) ? quadrant & 3 : -quadrant & 3;
}

DNNCC_MATH float dnncc_sinf(float x) {
    float r = x, y;
    int32_t quadrant = 0;
    if (!(dnncc_fabsf(x) < dnncc_infinity())) {
        return dnncc_nan();
    }
    if (dnncc_fabsf(x) > 0.785f) {
        quadrant = dnncc_quadrant(x, &r);
    }
    y = quadrant & 1 ? dnncc_reduced_cos(r) : dnncc_reduced_sin(r);
    return quadrant & 2 ? -y : y;
}

DNNCC_MATH float dnncc_cosf(float x) {
    float r = x, y;
    int32_t quadrant = 0;
    if (!(dnncc_fabsf(x) < dnncc_infinity())) {
        return dnncc_nan();
    }
    if (dnncc_fabsf(x) > 0.785f) {
        quadrant = dnncc_quadrant(x, &r);
    }
    y = quadrant & 1 ? dnncc_reduced_sin(r) : dnncc_reduced_cos(r);
    return (quadrant + 1) & 2 ? -y : y;
}

DNNCC_MATH float dnncc_tanf(float x) {
    float r = x, s, c;
    int32_t quadrant = 0;
    if (!(dnncc_fabsf(x) < dnncc_infinity())) {
        return dnncc_nan();
    }
    if (dnncc_fabsf(x) > 0.785f) {
        quadrant = dnncc_quadrant(x, &r);
    }
    s = dnncc_reduced_sin(r);
    c = dnncc_reduced_cos(r);
    return quadrant & 1 ? -c / s : s / c;
}

/* asin x for |x| <= 1/2. */
static inline float dnncc_reduced_asin(float x) {
    const float z = x * x;
    const float y = 0.045478340f + z * (0.024140999f + z * 0.042230532f);
    return x + x * z * (0.16666754f + z * (0.074952327f + z * y));
}

DNNCC_MATH float dnncc_asinf(float x) {
    const float a = dnncc_fabsf(x);
    if (a > 1.0f) {
        return dnncc_nan();
    }
    if (!(a > 0.5f)) {
        return dnncc_reduced_asin(x);
    }
    return dnncc_copysignf(1.57079633f - 2.0f * dnncc_reduced_asin(dnncc_sqrtf(0.5f - 0.5f * a)), x);
}

DNNCC_MATH float dnncc_acosf(float x) {
    const float a = dnncc_fabsf(x);
    float y;
    if (a > 1.0f) {
        return dnncc_nan();
    }
    if (!(a > 0.5f)) {
        return 1.57079633f - dnncc_reduced_asin(x);
    }
    y = 2.0f * dnncc_reduced_asin(dnncc_sqrtf(0.5f - 0.5f * a));
    return x > 0.0f ? y : 3.14159265f - y;
}

DNNCC_MATH float dnncc_atanf(float x) {
    const float a = dnncc_fabsf(x);
    float t = a > 1.0f ? 1.0f / a : a, z, y;
    const int beyond = t > 0.41421356f;
    t = beyond ? (t - 1.0f) / (t + 1.0f) : t;
    z = t * t;
    y = -0.14243628f + z * (0.10594273f + z * -0.060788497f);
    y = t + t * z * (-0.33333316f + z * (0.19998479f + z * y));
    y = beyond ? 0.78539816f + y : y;
    return dnncc_copysignf(a > 1.0f ? 1.57079633f - y : y, x);
}

#endif /* DNNCC_MATH_H */
