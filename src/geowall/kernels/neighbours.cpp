// Exact nearest neighbours of every point of a cloud, by a screen that proves what it leaves out.
//
// The screen. Centred points are rounded to bfloat16 and multiplied, 8 x 48 sums in registers, each pair once:
// a tile serves both of its points. With x', y' the rounded vectors, Cauchy-Schwarz bounds what a product is
// off by,
//
//     |x - x'| |y| + |x'| |y - y'| + (d + 32) 2^-24 |x'| |y'|,
//
// so every squared distance gets a lower and an upper end. A point keeps those whose lower end does not exceed
// the k-th smallest upper end it has met: no neighbour can be lost, and nothing N x N is written.
//
// The settlement. The few that remain are measured in float32 from the points as given, differences first;
// where float32 cannot order two of them, double does. Equal distances go by index.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__AVX512BF16__) && defined(__AVX512F__)
#include <immintrin.h>

namespace {

constexpr long ROWS = 8, VECTORS = 3, COLUMNS = 16 * VECTORS;

struct Candidate {
  float lower, upper;
  int32_t index;
};

struct Kept {  // the candidates of one point
  std::vector<Candidate> all;
  size_t full;
};

inline uint32_t rounded(float v) {  // to bfloat16, nearest even, in the high half
  uint32_t u;
  std::memcpy(&u, &v, 4);
  return (u + 0x7fff + ((u >> 16) & 1)) & 0xffff0000u;
}

inline float as_float(uint32_t u) {
  float v;
  std::memcpy(&v, &u, 4);
  return v;
}

struct Cloud {
  long n, d, half;
  std::vector<uint32_t> rows, columns;               // [n / 8][d / 2][8] and [n / 48][d / 2][48] pairs
  std::vector<float> square, norm, kept, taken, tau;  // |y|^2, |y|, |y'|, |y - y'|, k-th upper end so far

  Cloud(long n, long d, const float* y) : n(n), d(d), half((d + 1) / 2) {
    const long room = (n + COLUMNS - 1) / COLUMNS * COLUMNS;
    rows.assign(room * half, 0);
    columns.assign(room * half, 0);
    for (auto* v : {&square, &norm, &kept, &taken}) v->assign(room, 0.0f);
    tau.assign(room, -std::numeric_limits<float>::infinity());
    const double more = 1.0 + 1e-6;
    for (long i = 0; i < n; i++) {
      uint32_t* row = &rows[i / ROWS * half * ROWS + i % ROWS];
      uint32_t* column = &columns[i / COLUMNS * half * COLUMNS + i % COLUMNS];
      double all = 0, stays = 0, goes = 0;
      for (long l = 0; l < d; l++) {
        const float v = y[i * d + l];
        const uint32_t u = rounded(v);
        const double r = as_float(u), off = v - r;
        all += double(v) * v, stays += r * r, goes += off * off;
        const uint32_t part = l % 2 ? u : u >> 16;
        row[l / 2 * ROWS] |= part, column[l / 2 * COLUMNS] |= part;
      }
      square[i] = float(all), norm[i] = float(std::sqrt(all) * more);
      kept[i] = float(std::sqrt(stays) * more), taken[i] = float(std::sqrt(goes) * more);
      tau[i] = std::numeric_limits<float>::infinity();
    }
  }
};

inline void products(long pairs, const uint32_t* rows, const uint32_t* columns, __m512 sums[ROWS][VECTORS]) {
  __m512 s[ROWS][VECTORS];
  for (auto& row : s)
    for (auto& one : row) one = _mm512_setzero_ps();
  for (long l = 0; l < pairs; l++) {
    __m512bh w[VECTORS];
    for (long v = 0; v < VECTORS; v++) w[v] = (__m512bh)_mm512_loadu_si512(columns + l * COLUMNS + 16 * v);
#pragma GCC unroll 8
    for (long t = 0; t < ROWS; t++) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(int(rows[l * ROWS + t]));
#pragma GCC unroll 3
      for (long v = 0; v < VECTORS; v++) s[t][v] = _mm512_dpbf16_ps(s[t][v], x, w[v]);
    }
  }
  for (long t = 0; t < ROWS; t++)
    for (long v = 0; v < VECTORS; v++) sums[t][v] = s[t][v];
}

void prune(Kept& own, long k, float& tau) {
  auto& all = own.all;
  std::nth_element(all.begin(), all.begin() + (k - 1), all.end(),
                   [](const Candidate& a, const Candidate& b) { return a.upper < b.upper; });
  tau = all[k - 1].upper;
  all.erase(std::remove_if(all.begin(), all.end(), [&](const Candidate& c) { return c.lower > tau; }), all.end());
  own.full = std::max(size_t(2 * k + 32), 2 * all.size());
}

inline void add(Kept& own, long k, float& tau, float lower, float upper, long index) {
  own.all.push_back({lower, upper, int32_t(index)});
  if (own.all.size() >= own.full) prune(own, k, tau);
}

void screen(Cloud& cloud, long k, std::vector<Kept>& kept) {
  const long n = cloud.n, half = cloud.half;
  const __m512 two = _mm512_set1_ps(2.0f), wide = _mm512_set1_ps(2.0f * (1.0f + 1e-5f));
  const __m512 sums_off = _mm512_set1_ps(float(cloud.d + 32) * 0x1p-24f), last = _mm512_set1_ps(0x1p-21f);
  for (long j0 = 0; j0 < n; j0 += COLUMNS) {
    const uint32_t* columns = &cloud.columns[j0 * half];
    for (long i0 = 0; i0 < std::min(n, j0 + COLUMNS); i0 += ROWS) {
      __m512 sums[ROWS][VECTORS];
      products(half, &cloud.rows[i0 * half], columns, sums);
      for (long i = i0; i < std::min(n, i0 + ROWS); i++) {
        const __m512 s = _mm512_set1_ps(cloud.square[i]), t = _mm512_set1_ps(cloud.taken[i]);
        const __m512 m = _mm512_set1_ps(cloud.kept[i]);
        for (long v = 0; v < VECTORS; v++) {
          const long j = j0 + 16 * v;
          const __m512 both = _mm512_add_ps(s, _mm512_loadu_ps(&cloud.square[j]));
          const __m512 distance = _mm512_fnmadd_ps(two, sums[i - i0][v], both);
          __m512 off = _mm512_fmadd_ps(sums_off, _mm512_loadu_ps(&cloud.kept[j]), _mm512_loadu_ps(&cloud.taken[j]));
          off = _mm512_fmadd_ps(m, off, _mm512_mul_ps(t, _mm512_loadu_ps(&cloud.norm[j])));
          off = _mm512_fmadd_ps(off, wide, _mm512_mul_ps(last, both));
          const __m512 lower = _mm512_sub_ps(distance, off);
          const __mmask16 mine = _mm512_cmp_ps_mask(lower, _mm512_set1_ps(cloud.tau[i]), _CMP_LE_OQ);
          const __mmask16 theirs = _mm512_cmp_ps_mask(lower, _mm512_loadu_ps(&cloud.tau[j]), _CMP_LE_OQ);
          unsigned open = mine | theirs;
          if (j <= i) open &= i - j >= 15 ? 0u : ~0u << (i - j + 1);
          if (j + 16 > n) open &= j >= n ? 0u : (1u << (n - j)) - 1;
          if (!open) continue;
          alignas(64) float low[16], high[16];
          _mm512_store_ps(low, lower);
          _mm512_store_ps(high, _mm512_add_ps(distance, off));
          for (; open; open &= open - 1) {
            const long q = __builtin_ctz(open);
            if (mine >> q & 1) add(kept[i], k, cloud.tau[i], low[q], high[q], j + q);
            if (theirs >> q & 1) add(kept[j + q], k, cloud.tau[j + q], low[q], high[q], i);
          }
        }
      }
    }
  }
}

inline float apart(long d, const float* x, const float* y) {
  __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  long l = 0;
  for (; l + 64 <= d; l += 64)
    for (long q = 0; q < 4; q++) {
      const __m512 off = _mm512_sub_ps(_mm512_loadu_ps(x + l + 16 * q), _mm512_loadu_ps(y + l + 16 * q));
      sums[q] = _mm512_fmadd_ps(off, off, sums[q]);
    }
  for (; l < d; l += 16) {
    const __mmask16 some = d - l >= 16 ? __mmask16(-1) : __mmask16((1u << (d - l)) - 1);
    const __m512 off = _mm512_sub_ps(_mm512_maskz_loadu_ps(some, x + l), _mm512_maskz_loadu_ps(some, y + l));
    sums[0] = _mm512_fmadd_ps(off, off, sums[0]);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

double exactly_apart(long d, const float* x, const float* y) {
  __m512d sums[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
  for (long l = 0; l < d; l += 8) {
    const __mmask8 some = d - l >= 8 ? __mmask8(-1) : __mmask8((1u << (d - l)) - 1);
    const __m512d a = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(some, x + l));
    const __m512d off = _mm512_sub_pd(a, _mm512_cvtps_pd(_mm256_maskz_loadu_ps(some, y + l)));
    sums[l / 8 % 2] = _mm512_fmadd_pd(off, off, sums[l / 8 % 2]);
  }
  return _mm512_reduce_add_pd(_mm512_add_pd(sums[0], sums[1]));
}

struct Measured {
  double square;
  int32_t index;
  bool operator<(const Measured& o) const { return square < o.square || (square == o.square && index < o.index); }
};

struct Pair {
  int32_t candidate, point;
  float square;
};

// Squared distances of pairs of a few points: candidate by candidate, so that its row is fetched once for many,
// and a strip of columns at a time, so that the points' own stay in the cache.
void measure(long n, long d, const float* x, std::vector<Pair>& pairs) {
  constexpr long STRIP = 256, AHEAD = 4;
  std::vector<uint32_t> start(n + 1, 0), turn(pairs.size());
  for (const auto& p : pairs) start[p.candidate + 1]++;
  for (long j = 0; j < n; j++) start[j + 1] += start[j];
  for (size_t a = 0; a < pairs.size(); a++) turn[start[pairs[a].candidate]++] = uint32_t(a);
  for (long at = 0; at < d; at += STRIP)
    for (size_t a = 0; a < turn.size(); a++) {
      if (a + AHEAD < turn.size() && pairs[turn[a + AHEAD]].candidate != pairs[turn[a + AHEAD - 1]].candidate)
        for (long l = at; l < std::min(d, at + STRIP); l += 16)
          _mm_prefetch(reinterpret_cast<const char*>(x + long(pairs[turn[a + AHEAD]].candidate) * d + l), _MM_HINT_T0);
      auto& p = pairs[turn[a]];
      p.square += apart(std::min(STRIP, d - at), x + long(p.point) * d + at, x + long(p.candidate) * d + at);
    }
}

// Order by what float32 found, then again in double wherever it could not tell, up to the k-th.
void order(long d, long k, const float* x, long i, std::vector<Measured>& found) {
  const double doubt = 2.0 * (double(d) / 64 + 24) * 0x1p-24;
  std::sort(found.begin(), found.end());
  for (size_t a = 0; a < found.size() && long(a) < k;) {
    size_t b = a + 1;
    while (b < found.size() && found[b].square * (1 - doubt) <= found[b - 1].square * (1 + doubt)) b++;
    if (b > a + 1) {
      for (size_t c = a; c < b; c++) found[c].square = exactly_apart(d, x + i * d, x + long(found[c].index) * d);
      std::sort(found.begin() + a, found.begin() + b);
    }
    a = b;
  }
}

}  // namespace

extern "C" int neighbours_supported() { return 1; }

// `x` are the points as given, `y` the centred ones; index and square are [n][k]. Returns how many candidates
// were measured in all.
extern "C" int64_t neighbours_exact(long n, long d, long k, const float* x, const float* y, int32_t* index,
                                    float* square) {
  std::vector<Kept> kept(n);
  for (auto& own : kept) own.full = size_t(3 * k + 32);
  {
    Cloud cloud(n, d, y);
    screen(cloud, k, kept);
    for (long i = 0; i < n; i++) prune(kept[i], k, cloud.tau[i]);
  }
  constexpr long BLOCK = 512;  // points at a time, so that each neighbour's row is fetched once for many
  int64_t measured = 0;
  std::vector<Pair> pairs;
  std::vector<Measured> found;
  for (long i0 = 0; i0 < n; i0 += BLOCK) {
    const long i1 = std::min(n, i0 + BLOCK);
    pairs.clear();
    for (long i = i0; i < i1; i++) {
      for (const auto& c : kept[i].all) pairs.push_back({c.index, int32_t(i), 0.0f});
      std::vector<Candidate>().swap(kept[i].all);
    }
    measure(n, d, x, pairs);
    measured += int64_t(pairs.size());
    for (size_t a = 0, b; a < pairs.size(); a = b) {
      const long i = pairs[a].point;
      found.clear();
      for (b = a; b < pairs.size() && pairs[b].point == i; b++)
        found.push_back({double(pairs[b].square), pairs[b].candidate});
      order(d, k, x, i, found);
      for (long q = 0; q < k; q++) {
        index[i * k + q] = found[q].index;
        square[i * k + q] = float(found[q].square);
      }
    }
  }
  return measured;
}

#else

extern "C" int neighbours_supported() { return 0; }

#endif
