// What a checkpoint does to tokens, without ever writing tokens x latents.
//
// Encoding is a screen and a proof. A panel of 48 latents is rounded to bfloat16 and multiplied with tokens
// rounded to bfloat16, 8 x 48 sums in registers. By Cauchy-Schwarz a sum is off by at most
//
//     |x - x'| |w| + |x'| |w - w'| + (d + 32) 2^-24 |x'| |w'|
//
// with x', w' the rounded vectors, whose residual norms are measured while packing. A latent whose sum is
// below its threshold by more than that is silent for certain. The few that remain are taken again in float32
// (in double where even float32 cannot tell), so that gates and codes are those of an exact encoder.
//
// Decoding adds the few active rows of the decoder, a strip of columns at a time so that the strip of all rows
// stays in the cache, and keeps three scalars a token.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX512BF16__) && defined(__AVX512F__)
#include <immintrin.h>

namespace {

constexpr long TOKENS = 8, VECTORS = 3, LATENTS = 16 * VECTORS;

inline __m512i rounded(__m512 v) {  // to bfloat16, nearest even, in the high half of each lane
  const __m512i u = _mm512_castps_si512(v), one = _mm512_set1_epi32(1);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), one);
  const __m512i up = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
  return _mm512_and_si512(up, _mm512_set1_epi32(int(0xffff0000)));
}

inline uint32_t rounded(float v) {
  uint32_t u;
  std::memcpy(&u, &v, 4);
  return (u + 0x7fff + ((u >> 16) & 1)) & 0xffff0000u;
}

inline float as_float(uint32_t u) {
  float v;
  std::memcpy(&v, &u, 4);
  return v;
}

// A panel of 48 columns of W_enc: pairs of rows in bfloat16, each column in float32, norms.
struct Panel {
  std::vector<uint32_t> pairs;                // [d / 2, rounded up][48]
  std::vector<float> columns;                 // [48][d]
  alignas(64) float norm[LATENTS], slope[LATENTS], cut[LATENTS];

  explicit Panel(long d) : pairs((d + 1) / 2 * LATENTS), columns(LATENTS * d) {}
};

void pack(Panel& panel, long d, long n, long first, const float* W, const float* b, const float* threshold) {
  const long width = std::min(LATENTS, n - first);
  for (long v = 0; v < VECTORS; v++) {
    const long left = std::min(16L, std::max(0L, width - 16 * v));
    const __mmask16 some = __mmask16((1u << left) - 1);
    __m512 square = _mm512_setzero_ps(), residue = square, kept = square;
    const float* from = W + first + 16 * v;
    for (long i = 0; i < d; i += 2) {
      const __m512 low = _mm512_maskz_loadu_ps(some, from + i * n);
      const __m512 high = i + 1 < d ? _mm512_maskz_loadu_ps(some, from + (i + 1) * n) : _mm512_setzero_ps();
      const __m512i a = rounded(low), c = rounded(high);
      _mm512_storeu_si512(&panel.pairs[i / 2 * LATENTS + 16 * v], _mm512_or_si512(_mm512_srli_epi32(a, 16), c));
      const __m512 af = _mm512_castsi512_ps(a), cf = _mm512_castsi512_ps(c);
      const __m512 ra = _mm512_sub_ps(low, af), rc = _mm512_sub_ps(high, cf);
      square = _mm512_fmadd_ps(low, low, _mm512_fmadd_ps(high, high, square));
      residue = _mm512_fmadd_ps(ra, ra, _mm512_fmadd_ps(rc, rc, residue));
      kept = _mm512_fmadd_ps(af, af, _mm512_fmadd_ps(cf, cf, kept));
    }
    // a little more than the truth, for the rounding of these sums themselves
    const __m512 more = _mm512_set1_ps(1.0f + 1e-6f * float(d)), sums = _mm512_set1_ps(float(d + 32) * 0x1p-24f);
    _mm512_store_ps(panel.norm + 16 * v, _mm512_mul_ps(more, _mm512_sqrt_ps(square)));
    _mm512_store_ps(panel.slope + 16 * v,
                    _mm512_mul_ps(more, _mm512_fmadd_ps(sums, _mm512_sqrt_ps(kept), _mm512_sqrt_ps(residue))));
  }
  for (long j = 0; j < LATENTS; j++)
    panel.cut[j] = j < width ? std::max(threshold[first + j], 0.0f) - b[first + j] : INFINITY;
  constexpr long BLOCK = 16;  // rows at a time: a transpose that stays in the cache
  for (long i = 0; i < d; i += BLOCK)
    for (long j = 0; j < width; j++)
      for (long k = i; k < std::min(d, i + BLOCK); k++) panel.columns[j * d + k] = W[k * n + first + j];
}

// 8 tokens x 48 latents; `tokens` is [d / 2][8] pairs.
inline void products(long pairs, const uint32_t* tokens, const uint32_t* latents, __m512 sums[TOKENS][VECTORS]) {
  __m512 s[TOKENS][VECTORS];
  for (auto& row : s)
    for (auto& one : row) one = _mm512_setzero_ps();
  for (long i = 0; i < pairs; i++) {
    __m512bh w[VECTORS];
    for (long v = 0; v < VECTORS; v++) w[v] = (__m512bh)_mm512_loadu_si512(latents + i * LATENTS + 16 * v);
#pragma GCC unroll 8
    for (long t = 0; t < TOKENS; t++) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(int(tokens[i * TOKENS + t]));
#pragma GCC unroll 3
      for (long v = 0; v < VECTORS; v++) s[t][v] = _mm512_dpbf16_ps(s[t][v], x, w[v]);
    }
  }
  for (long t = 0; t < TOKENS; t++)
    for (long v = 0; v < VECTORS; v++) sums[t][v] = s[t][v];
}

inline float dot(long d, const float* x, const float* w) {
  __m512 a = _mm512_setzero_ps(), b = a, c = a, e = a;
  long i = 0;
  for (; i + 64 <= d; i += 64) {
    a = _mm512_fmadd_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(w + i), a);
    b = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(w + i + 16), b);
    c = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 32), _mm512_loadu_ps(w + i + 32), c);
    e = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 48), _mm512_loadu_ps(w + i + 48), e);
  }
  for (; i < d; i += 16) {
    const __mmask16 some = d - i >= 16 ? __mmask16(-1) : __mmask16((1u << (d - i)) - 1);
    a = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, x + i), _mm512_maskz_loadu_ps(some, w + i), a);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, e)));
}

double exact(long d, const float* x, const float* w) {
  double sum = 0;
  for (long i = 0; i < d; i++) sum += double(x[i]) * double(w[i]);
  return sum;
}

}  // namespace

extern "C" int evaluate_supported() { return 1; }

// Tokens to bfloat16 pairs [block of 8][d / 2][8]; norm of the rounded token, norm of what rounding took.
extern "C" void evaluate_pack(long tokens, long d, const float* x, uint32_t* pairs, float* norm, float* residue) {
  const long half = (d + 1) / 2;
  std::memset(pairs, 0, sizeof(uint32_t) * size_t((tokens + TOKENS - 1) / TOKENS * TOKENS * half));
  for (long t = 0; t < tokens; t++) {
    uint32_t* to = pairs + t / TOKENS * half * TOKENS + t % TOKENS;
    double kept = 0, taken = 0;
    for (long i = 0; i < d; i++) {
      const uint32_t u = rounded(x[t * d + i]);
      const double value = as_float(u), off = x[t * d + i] - value;
      kept += value * value;
      taken += off * off;
      to[i / 2 * TOKENS] |= i % 2 ? u : u >> 16;
    }
    norm[t] = float(std::sqrt(kept) * (1 + 1e-6));
    residue[t] = float(std::sqrt(taken) * (1 + 1e-6));
  }
}

// Active latents of each token in the order of latents, at most `room` kept; all are counted. Returns the
// largest count, which the caller compares with `room`. `fired` is added to.
extern "C" long evaluate_encode(long tokens, long d, long n, long room, const float* x, const uint32_t* pairs,
                                const float* norm, const float* residue, const float* W, const float* b,
                                const float* threshold, int32_t* latent, float* value, int32_t* l0,
                                int64_t* fired) {
  const long half = (d + 1) / 2;
  Panel panel(d);
  std::memset(l0, 0, sizeof(int32_t) * size_t(tokens));
  for (long first = 0; first < n; first += LATENTS) {
    pack(panel, d, n, first, W, b, threshold);
    for (long t0 = 0; t0 < tokens; t0 += TOKENS) {
      __m512 sums[TOKENS][VECTORS];
      products(half, pairs + t0 * half, panel.pairs.data(), sums);
      for (long t = t0; t < std::min(tokens, t0 + TOKENS); t++) {
        const __m512 off = _mm512_set1_ps(residue[t]), size = _mm512_set1_ps(norm[t]);
        for (long v = 0; v < VECTORS; v++) {
          __m512 sure = _mm512_fnmadd_ps(off, _mm512_load_ps(panel.norm + 16 * v), _mm512_load_ps(panel.cut + 16 * v));
          sure = _mm512_fnmadd_ps(size, _mm512_load_ps(panel.slope + 16 * v), sure);
          unsigned open = _mm512_cmp_ps_mask(sums[t - t0][v], sure, _CMP_NLT_UQ);
          for (; open; open &= open - 1) {
            const long j = 16 * v + __builtin_ctz(open);
            if (first + j >= n) continue;
            const float gate = std::max(threshold[first + j], 0.0f);
            const float* w = &panel.columns[j * d];
            float p = dot(d, x + t * d, w) + b[first + j];
            const float doubt = 4e-7f * (norm[t] * panel.norm[j] + std::fabs(b[first + j]));
            bool on = p > gate;
            if (std::fabs(p - gate) <= doubt) on = exact(d, x + t * d, w) + double(b[first + j]) > double(gate);
            if (!on) continue;
            if (l0[t] < room) {
              latent[t * room + l0[t]] = int32_t(first + j);
              value[t * room + l0[t]] = p;
            }
            l0[t]++;
            fired[first + j]++;
          }
        }
      }
    }
  }
  return tokens ? *std::max_element(l0, l0 + tokens) : 0;
}

namespace {

template <long V>
void strip(long tokens, long d, long at, __mmask16 last, long room, const float* x, const int32_t* latent,
           const float* value, const int32_t* l0, const float* W, const float* b, double* error, double* inner,
           double* square) {
  for (long t = 0; t < tokens; t++) {
    __m512 r[V];
    for (long v = 0; v < V; v++) {
      const __mmask16 some = v + 1 < V ? __mmask16(-1) : last;
      r[v] = _mm512_maskz_loadu_ps(some, b + at + 16 * v);
    }
    const int32_t* js = latent + t * room;
    for (long i = 0; i < l0[t]; i++) {
      if (i + 8 < l0[t]) {
        const float* next = W + long(js[i + 8]) * d + at;
        for (long v = 0; v < V; v++) _mm_prefetch(reinterpret_cast<const char*>(next + 16 * v), _MM_HINT_T0);
      }
      const float* w = W + long(js[i]) * d + at;
      const __m512 f = _mm512_set1_ps(value[t * room + i]);
      for (long v = 0; v < V; v++) {
        const __mmask16 some = v + 1 < V ? __mmask16(-1) : last;
        r[v] = _mm512_fmadd_ps(f, _mm512_maskz_loadu_ps(some, w + 16 * v), r[v]);
      }
    }
    __m512 e = _mm512_setzero_ps(), p = e, s = e;
    for (long v = 0; v < V; v++) {
      const __mmask16 some = v + 1 < V ? __mmask16(-1) : last;
      const __m512 own = _mm512_maskz_loadu_ps(some, x + t * d + at + 16 * v), off = _mm512_sub_ps(own, r[v]);
      e = _mm512_fmadd_ps(off, off, e);
      p = _mm512_fmadd_ps(own, r[v], p);
      s = _mm512_fmadd_ps(r[v], r[v], s);
    }
    error[t] += _mm512_reduce_add_ps(e);
    inner[t] += _mm512_reduce_add_ps(p);
    square[t] += _mm512_reduce_add_ps(s);
  }
}

}  // namespace

// |x - x'|^2, x . x' and |x'|^2 of each token, added to what stands there.
extern "C" void evaluate_decode(long tokens, long d, long room, const float* x, const int32_t* latent,
                                const float* value, const int32_t* l0, const float* W, const float* b,
                                double* error, double* inner, double* square) {
  for (long at = 0; at < d;) {
    const long left = d - at;
    if (left >= 128) {
      strip<8>(tokens, d, at, __mmask16(-1), room, x, latent, value, l0, W, b, error, inner, square);
      at += 128;
    } else {
      const __mmask16 last = left >= 16 ? __mmask16(-1) : __mmask16((1u << left) - 1);
      strip<1>(tokens, d, at, last, room, x, latent, value, l0, W, b, error, inner, square);
      at += 16;
    }
  }
}

#else

extern "C" int evaluate_supported() { return 0; }

#endif
