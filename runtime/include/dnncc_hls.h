/* The streaming stages of networks that dnncc compiles for FPGAs. C++14 for Vitis HLS; plain C++ for simulation.

   Each stage is one function with one pipelined loop: an iteration takes at most one word from each input and gives at
   most one word to each output. Counters are set in the first iteration, so that the loop can be rewound. */
#ifndef DNNCC_HLS_H
#define DNNCC_HLS_H

#include <ap_axi_sdata.h>
#include <ap_int.h>
#include <stdint.h>

#ifdef DNNCC_HLS_HARNESS
#include DNNCC_HLS_HARNESS /* simulation: streams of bounded depth, or records of what went through them */
#else
#include <hls_stream.h>
namespace dnncc {
template <typename T> using stream = hls::stream<T>;
template <typename T, int DEPTH> using fifo = hls::stream<T>;
}
#define DNNCC_STAGE(...) __VA_ARGS__
#define DNNCC_RECORD(name)
#define DNNCC_RUN()
#endif

namespace dnncc {

/* N elements that travel together. */
template <typename T, int N> struct vec {
  typedef T element;
  static const int lanes = N;
  T data[N];
  T &operator[](int i) { return data[i]; }
  const T &operator[](int i) const { return data[i]; }
};

/* Elements of constant arrays: as narrow as they are for synthesis; native types, which compile much faster, else. */
#ifdef __SYNTHESIS__
template <int BITS> using rom = ap_int<BITS>;
template <int BITS> using urom = ap_uint<BITS>;
#else
template <int BITS> struct native {
  typedef typename native<(BITS <= 8 ? 8 : BITS <= 16 ? 16 : BITS <= 32 ? 32 : 64)>::of of;
  typedef typename native<(BITS <= 8 ? 8 : BITS <= 16 ? 16 : BITS <= 32 ? 32 : 64)>::uof uof;
};
template <> struct native<8> { typedef int8_t of; typedef uint8_t uof; };
template <> struct native<16> { typedef int16_t of; typedef uint16_t uof; };
template <> struct native<32> { typedef int32_t of; typedef uint32_t uof; };
template <> struct native<64> { typedef int64_t of; typedef uint64_t uof; };
template <int BITS> using rom = typename native<BITS>::of;
template <int BITS> using urom = typename native<BITS>::uof;
#endif

/* The same elements in another type. */
template <typename TO, typename FROM> TO cast(const FROM &from) {
#pragma HLS inline
  TO to;
  for (int i = 0; i < TO::lanes; ++i) {
#pragma HLS unroll
    to[i] = from[i];
  }
  return to;
}

inline int least(int a, int b) { return a < b ? a : b; }
inline int most(int a, int b) { return a > b ? a : b; }

/* -- Multipliers ---------------------------------------------------------------------------------------------------

   product() multiplies; sums() gives, for each of PE rows, the sum over SIMD columns of x * w. */

struct in_lut {
  template <int BITS, typename A, typename B> static ap_int<BITS> product(const A &a, const B &b) {
#pragma HLS inline
    ap_int<BITS> p = a * b;
#pragma HLS bind_op variable=p op=mul impl=fabric
    return p;
  }
};

struct in_dsp {
  template <int BITS, typename A, typename B> static ap_int<BITS> product(const A &a, const B &b) {
#pragma HLS inline
    ap_int<BITS> p = a * b;
#pragma HLS bind_op variable=p op=mul impl=dsp
    return p;
  }
};

template <int BITS, typename STYLE, typename A, typename B> ap_int<BITS> product(const A &a, const B &b) {
#pragma HLS inline
  return STYLE::template product<BITS>(a, b);
}

template <typename STYLE, int BITS, int WBITS, int PE, int SIMD, typename TOTAL, typename X, typename W> struct dot {
  static void sums(TOTAL (&sum)[PE], const vec<X, SIMD> &x, const W (&w)[PE][SIMD]) {
#pragma HLS inline
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS unroll
      TOTAL total = 0;
      for (int s = 0; s < SIMD; ++s) {
#pragma HLS unroll
        total += STYLE::template product<BITS>(x[s], w[pe][s]);
      }
      sum[pe] = total;
    }
  }
};

/* Two rows share a DSP block: (w1 * 2^BITS + w0) * x holds both products. Where the lower one is negative it has
   borrowed one from the upper one. */
struct in_shared_dsp {};

template <int BITS, int WBITS, int PE, int SIMD, typename TOTAL, typename X, typename W>
struct dot<in_shared_dsp, BITS, WBITS, PE, SIMD, TOTAL, X, W> {
  static void sums(TOTAL (&sum)[PE], const vec<X, SIMD> &x, const W (&w)[PE][SIMD]) {
#pragma HLS inline
    for (int pe = 0; pe < PE; pe += 2) {
#pragma HLS unroll
      TOTAL low = 0, high = 0;
      for (int s = 0; s < SIMD; ++s) {
#pragma HLS unroll
        const ap_int<BITS + WBITS + 1> shifted = w[pe + 1 < PE ? pe + 1 : pe][s];
        const ap_int<BITS + WBITS + 1> both = (shifted << BITS) + w[pe][s];
        const ap_int<2 * BITS + WBITS + 1> p = in_dsp::product<2 * BITS + WBITS + 1>(both, x[s]);
        const ap_int<BITS> lower = p.range(BITS - 1, 0);
        const ap_int<BITS + WBITS + 1> upper = (p >> BITS) + (lower < 0 ? 1 : 0);
        low += lower;
        high += upper;
      }
      sum[pe] = low;
      if (pe + 1 < PE) sum[pe + 1] = high;
    }
  }
};

/* clamp(((x * multiplier + 2^(SHIFT-1)) >> SHIFT), lo, hi) + zero; halves round up, or to the even one. */
template <int BITS, int SHIFT, bool EVEN, typename Y, typename STYLE, typename X, typename M, typename L, typename H,
          typename Z>
Y requantize(const X &x, const M &multiplier, const L &lo, const H &hi, const Z &zero) {
#pragma HLS inline
  ap_int<BITS> p = product<BITS, STYLE>(x, ap_int<33>(multiplier));
  if (EVEN) p += ap_int<2>(p[SHIFT]) - 1;
  const ap_int<BITS> half = SHIFT ? ap_int<BITS>(ap_int<BITS>(1) << (SHIFT ? SHIFT - 1 : 0)) : ap_int<BITS>(0);
  const ap_int<BITS> y = (p + half) >> SHIFT;
  return y < lo ? Y(lo + zero) : y > hi ? Y(hi + zero) : Y(y + zero);
}

/* -- Sliding window ------------------------------------------------------------------------------------------------

   FOLDS words make a pixel. An iteration reads if the output pixel AHEAD places later needs the word, and writes a tap
   if the present output pixel's words are there, MARGIN of them more than it needs, so that no word is read from the
   buffer within MARGIN iterations of its write. */
template <int H, int W, int FOLDS, int KH, int KW, int SH, int SW, int DH, int DW, int TOP, int LEFT, int OH, int OW,
          int AHEAD, int MARGIN, int DEPTH, int COUNT, int FILLER, typename V>
void window(stream<V> &in, stream<V> &out) {
  const int total = H * W * FOLDS;
  V buffer[DEPTH];
#pragma HLS dependence variable=buffer type=inter direction=RAW distance=MARGIN true
#pragma HLS dependence variable=buffer type=inter direction=WAR false
  int read = 0, oy = 0, ox = 0, ay = 0, ax = 0, fold = 0, ky = 0, kx = 0;
  for (int i = 0; i < COUNT; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) {
      read = oy = ox = fold = ky = kx = 0;
      ay = AHEAD / OW;
      ax = AHEAD % OW;
    }
    const int bottom = most(least(oy * SH - TOP + (KH - 1) * DH, H - 1), 0);
    const int right = most(least(ox * SW - LEFT + (KW - 1) * DW, W - 1), 0);
    const int wanted = least((bottom * W + right + 1) * FOLDS + MARGIN, total);
    const int later_bottom = most(least(ay * SH - TOP + (KH - 1) * DH, H - 1), 0);
    const int later_right = most(least(ax * SW - LEFT + (KW - 1) * DW, W - 1), 0);
    const bool last = oy >= OH || (oy == OH - 1 && ox == OW - 1);
    const int limit = ay >= OH || last ? total : most((later_bottom * W + later_right + 1) * FOLDS, wanted);
    const bool writes = oy < OH && read >= wanted;
    const int y = oy * SH - TOP + ky * DH, x = ox * SW - LEFT + kx * DW;
    if (writes) {
      V word;
      if (y >= 0 && y < H && x >= 0 && x < W) {
        word = buffer[((y * W + x) * FOLDS + fold) % DEPTH];
      } else {
        for (int lane = 0; lane < V::lanes; ++lane) {
#pragma HLS unroll
          word[lane] = FILLER;
        }
      }
      out.write(word);
    }
    if (read < limit) {
      buffer[read % DEPTH] = in.read();
      ++read;
    }
    if (writes) {
      if (++kx == KW) {
        kx = 0;
        if (++ky == KH) {
          ky = 0;
          if (++fold == FOLDS) {
            fold = 0;
            if (++ox == OW) {
              ox = 0;
              ++oy;
            }
            if (++ax == OW) {
              ax = 0;
              ++ay;
            }
          }
        }
      }
    }
  }
}

/* -- Matrix-vector unit --------------------------------------------------------------------------------------------

   VECTORS vectors of COLUMNS words each, times ROWS * PE rows of weights. */
template <int VECTORS, int COLUMNS, int ROWS, typename TOTAL, int BITS, int WBITS, typename STYLE, typename X,
          typename A, typename W, typename B, int SIMD, int PE, int DEPTH>
void matrix(stream<vec<X, SIMD>> &in, stream<vec<A, PE>> &out, const W (&weights)[DEPTH][PE][SIMD],
            const B (&bias)[ROWS][PE]) {
  static_assert(DEPTH == ROWS * COLUMNS, "weights");
#pragma HLS array_reshape variable=weights dim=2 type=complete
#pragma HLS array_reshape variable=weights dim=3 type=complete
#pragma HLS array_reshape variable=bias dim=2 type=complete
  vec<X, SIMD> held[COLUMNS];
  TOTAL total[PE];
#pragma HLS array_partition variable=total complete
  int column = 0, row = 0, at = 0;
  for (int i = 0; i < VECTORS * ROWS * COLUMNS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) column = row = at = 0;
    vec<X, SIMD> x;
    if (row == 0) {
      x = in.read();
      held[column] = x;
    } else {
      x = held[column];
    }
    TOTAL sum[PE];
    dot<STYLE, BITS, WBITS, PE, SIMD, TOTAL, X, W>::sums(sum, x, weights[at]);
    vec<A, PE> y;
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS unroll
      total[pe] = (column == 0 ? TOTAL(bias[row][pe]) : total[pe]) + sum[pe];
      y[pe] = total[pe];
    }
    if (column == COLUMNS - 1) out.write(y);
    at = at == DEPTH - 1 ? 0 : at + 1;
    if (++column == COLUMNS) {
      column = 0;
      if (++row == ROWS) row = 0;
    }
  }
}

/* The same, column after column: the vector is read evenly, and all sums are there at the end. Weights by column. */
template <int VECTORS, int COLUMNS, int ROWS, typename TOTAL, int BITS, int WBITS, typename STYLE, typename X,
          typename A, typename W, typename B, int SIMD, int PE, int DEPTH>
void matrix_by_columns(stream<vec<X, SIMD>> &in, stream<vec<A, PE>> &out, const W (&weights)[DEPTH][PE][SIMD],
                       const B (&bias)[ROWS][PE]) {
  static_assert(DEPTH == ROWS * COLUMNS, "weights");
#pragma HLS array_reshape variable=weights dim=2 type=complete
#pragma HLS array_reshape variable=weights dim=3 type=complete
#pragma HLS array_reshape variable=bias dim=2 type=complete
  vec<X, SIMD> x;
  vec<TOTAL, PE> total[ROWS];
#pragma HLS dependence variable=total type=inter direction=RAW distance=ROWS true
  int column = 0, row = 0, at = 0;
  for (int i = 0; i < VECTORS * ROWS * COLUMNS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) column = row = at = 0;
    if (row == 0) x = in.read();
    TOTAL sum[PE];
    dot<STYLE, BITS, WBITS, PE, SIMD, TOTAL, X, W>::sums(sum, x, weights[at]);
    vec<TOTAL, PE> so_far = total[row];
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS unroll
      so_far[pe] = (column == 0 ? TOTAL(bias[row][pe]) : so_far[pe]) + sum[pe];
    }
    total[row] = so_far;
    if (column == COLUMNS - 1) out.write(cast<vec<A, PE>>(so_far));
    at = at == DEPTH - 1 ? 0 : at + 1;
    if (++row == ROWS) {
      row = 0;
      if (++column == COLUMNS) column = 0;
    }
  }
}

/* -- Channel by channel --------------------------------------------------------------------------------------------

   PIXELS times FOLDS groups of TAPS words; each group gives one word. */
template <int PIXELS, int FOLDS, int TAPS, typename TOTAL, int BITS, typename STYLE, typename X, typename A,
          typename W, typename B, int PE, int DEPTH>
void depthwise(stream<vec<X, PE>> &in, stream<vec<A, PE>> &out, const W (&weights)[DEPTH][PE],
               const B (&bias)[FOLDS][PE]) {
  static_assert(DEPTH == FOLDS * TAPS, "weights");
#pragma HLS array_reshape variable=weights dim=2 type=complete
#pragma HLS array_reshape variable=bias dim=2 type=complete
  TOTAL total[PE];
#pragma HLS array_partition variable=total complete
  int tap = 0, fold = 0, at = 0;
  for (int i = 0; i < PIXELS * FOLDS * TAPS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) tap = fold = at = 0;
    const vec<X, PE> x = in.read();
    vec<A, PE> y;
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS unroll
      total[pe] = (tap == 0 ? TOTAL(bias[fold][pe]) : total[pe]) + product<BITS, STYLE>(x[pe], weights[at][pe]);
      y[pe] = total[pe];
    }
    if (tap == TAPS - 1) out.write(y);
    at = at == DEPTH - 1 ? 0 : at + 1;
    if (++tap == TAPS) {
      tap = 0;
      if (++fold == FOLDS) fold = 0;
    }
  }
}

struct add {
  template <typename A> static A apply(const A &a, const A &b) { return a + b; }
};
struct max {
  template <typename A> static A apply(const A &a, const A &b) { return a < b ? b : a; }
};

template <int PIXELS, int FOLDS, int TAPS, typename OP, typename X, typename A, int PE>
void pool(stream<vec<X, PE>> &in, stream<vec<A, PE>> &out) {
  vec<A, PE> y;
  int tap = 0;
  for (int i = 0; i < PIXELS * FOLDS * TAPS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) tap = 0;
    const vec<X, PE> x = in.read();
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS unroll
      y[pe] = tap == 0 ? A(x[pe]) : OP::template apply<A>(y[pe], x[pe]);
    }
    if (tap == TAPS - 1) out.write(y);
    if (++tap == TAPS) tap = 0;
  }
}

/* The same over a whole image whose pixels come one after the other. */
template <int PIXELS, int FOLDS, int TAPS, typename OP, typename X, typename A, int PE>
void pool_whole(stream<vec<X, PE>> &in, stream<vec<A, PE>> &out) {
  static_assert(PIXELS == 1, "one window");
  vec<A, PE> kept[FOLDS];
  int fold = 0;
  for (int i = 0; i < TAPS * FOLDS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) fold = 0;
    const vec<X, PE> x = in.read();
    vec<A, PE> y = kept[fold];
    for (int pe = 0; pe < PE; ++pe) {
#pragma HLS unroll
      y[pe] = i < FOLDS ? A(x[pe]) : OP::template apply<A>(y[pe], x[pe]);
    }
    kept[fold] = y;
    if (i >= (TAPS - 1) * FOLDS) out.write(y);
    if (++fold == FOLDS) fold = 0;
  }
}

/* -- Softmax -------------------------------------------------------------------------------------------------------

   Three passes over a row of LENGTH elements: read and find the largest, add the exponentials, write. The arithmetic is
   that of the graph's operator softmax_int: a table, a Newton reciprocal, no division. K: a sum is at least 2^K. */
template <typename = void> ap_int<64> mulhi(const ap_int<64> &a, const ap_int<64> &b) {
#pragma HLS inline
  return (ap_int<64>(a * b) + (ap_int<64>(1) << 31)) >> 32;
}

template <int ROWS, int LENGTH, int ENTRIES, int K, int LEVELS, int HEADROOM, typename X, typename Y, typename E>
void softmax(stream<vec<X, 1>> &in, stream<vec<Y, 1>> &out, const E (&table)[ENTRIES]) {
  X row[LENGTH];
  ap_int<X::width + 1> largest = 0;
  ap_uint<32> sum = 0;
  ap_int<64> factor = 0;
  int pass = 0, at = 0, shift = 0;
  for (int i = 0; i < ROWS * 3 * LENGTH; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) pass = at = 0;
    if (pass == 0) {
      const X x = in.read()[0];
      largest = at == 0 || x > largest ? ap_int<X::width + 1>(x) : largest;
      row[at] = x;
    } else {
      const ap_uint<X::width + 1> distance = largest - row[at];
      const E e = table[distance < ENTRIES ? int(distance) : ENTRIES - 1];
      if (pass == 1) {
        sum = at == 0 ? ap_uint<32>(e) : ap_uint<32>(sum + e);
      } else {
        if (at == 0) {
          shift = 0;
          for (int t = K + 1; t < 31; ++t) {
#pragma HLS unroll
            if (sum < (ap_uint<32>(1) << t)) ++shift;
          }
          const ap_int<64> v = ap_int<64>(sum) << shift;
          const ap_int<64> intercept = 1515870810LL, slope = 2021161080LL, one = 1LL << 28;
          ap_int<64> y = intercept - mulhi(v, slope);
          for (int step = 0; step < 2; ++step) {
#pragma HLS unroll
            y = y + mulhi(y, ap_int<64>(one - mulhi(v, y)) << 4);
          }
          factor = mulhi(y, ap_int<64>(LEVELS) << HEADROOM);
        }
        const int s = HEADROOM + 28;
        const ap_int<64> p = (ap_int<64>(e) << shift) * factor;
        const ap_int<64> result = (p + (ap_int<64>(1) << (s - 1))) >> s;
        vec<Y, 1> y;
        y[0] = result < 0 ? ap_int<64>(0) : result > LEVELS ? ap_int<64>(LEVELS) : result;
        out.write(y);
      }
    }
    if (++at == LENGTH) {
      at = 0;
      if (++pass == 3) pass = 0;
    }
  }
}

/* -- Movement ------------------------------------------------------------------------------------------------------ */

template <int WORDS, typename T, int A, int B> void widen(stream<vec<T, A>> &in, stream<vec<T, B>> &out) {
  const int ratio = B / A;
  vec<T, B> wide;
  int part = 0;
  for (int i = 0; i < WORDS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) part = 0;
    const vec<T, A> word = in.read();
    for (int lane = 0; lane < B; ++lane) {
#pragma HLS unroll
      if (lane / A == part) wide[lane] = word[lane % A];
    }
    if (part == ratio - 1) out.write(wide);
    if (++part == ratio) part = 0;
  }
}

template <int WORDS, typename T, int A, int B> void narrow(stream<vec<T, A>> &in, stream<vec<T, B>> &out) {
  const int ratio = A / B;
  vec<T, A> wide;
  int part = 0;
  for (int i = 0; i < WORDS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    if (i == 0) part = 0;
    if (part == 0) wide = in.read();
    vec<T, B> word;
    for (int lane = 0; lane < B; ++lane) {
#pragma HLS unroll
      word[lane] = wide[part * B + lane];
    }
    out.write(word);
    if (++part == ratio) part = 0;
  }
}

template <typename V> void give(const V &word, stream<V> &out) { out.write(word); }
template <typename V, typename... MORE> void give(const V &word, stream<V> &out, MORE &...more) {
#pragma HLS inline
  out.write(word);
  give(word, more...);
}

template <int WORDS, typename V, typename... OUT> void fork(stream<V> &in, OUT &...out) {
  for (int i = 0; i < WORDS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    const V word = in.read();
    give(word, out...);
  }
}

/* -- Border: AXI streams of a tensor's elements as they lie in memory -------------------------------------------------- */

template <int WORDS, int BITS, int AXIS, typename T, int LANES>
void source(stream<ap_axiu<AXIS, 0, 0, 0>> &in, stream<vec<T, LANES>> &out) {
  static_assert(AXIS == LANES * BITS, "width");
  for (int i = 0; i < WORDS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    const ap_axiu<AXIS, 0, 0, 0> beat = in.read();
    vec<T, LANES> word;
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS unroll
      const ap_uint<BITS> raw = beat.data.range((lane + 1) * BITS - 1, lane * BITS);
      word[lane] = T(raw);
    }
    out.write(word);
  }
}

template <int WORDS, int BITS, bool SIGNED, int AXIS, typename T, int LANES>
void sink(stream<vec<T, LANES>> &in, stream<ap_axiu<AXIS, 0, 0, 0>> &out) {
  static_assert(AXIS == LANES * BITS, "width");
  for (int i = 0; i < WORDS; ++i) {
#pragma HLS pipeline II=1 style=flp rewind
    const vec<T, LANES> word = in.read();
    ap_axiu<AXIS, 0, 0, 0> beat;
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS unroll
      const ap_int<BITS> raw = word[lane];
      beat.data.range((lane + 1) * BITS - 1, lane * BITS) = raw;
    }
    beat.keep = -1;
    beat.strb = -1;
    beat.last = i == WORDS - 1;
    out.write(beat);
  }
}

}  // namespace dnncc

#endif
