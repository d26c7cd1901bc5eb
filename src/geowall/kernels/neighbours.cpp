// Exact nearest neighbours of every point of a cloud, by a screen that proves what it leaves out.
//
// The screen. Points, less their mean, are rounded to whole numbers of 16 bits, each point to its own unit, small
// enough that no product of two leaves 32 bits: sums are exact. They are taken 8 x 48 in registers, each pair
// once, as a tile serves both of its points, and three panels of 48 at a time share the 8. With x', y' the
// rounded vectors, Cauchy-Schwarz bounds what a product is off by,
//
//     |x - x'| |y| + |x'| |y - y'|,
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

#if defined(__AVX512VNNI__) && defined(__AVX512DQ__)
#include <immintrin.h>

namespace {

constexpr long ROWS = 8, VECTORS = 3, COLUMNS = 16 * VECTORS, PANELS = 3;
constexpr double LONGEST = 46340.0, WIDEST = 32766.0;  // of a rounded vector; the first squared is below 2^31

struct Candidate {
  float lower, upper;
  int32_t index;
};

struct Kept {  // the candidates of one point
  std::vector<Candidate> all;
  size_t full;
};

struct Cloud {
  long n, d, half;
  std::vector<uint32_t> rows, columns;                      // [n / 8][d / 2][8] and [n / 48][d / 2][48] pairs
  std::vector<float> unit, square, norm, kept, taken, tau;  // |y|^2, |y|, |y'|, |y - y'|, k-th upper end so far

  Cloud(long n, long d, const float* x, const float* mean) : n(n), d(d), half((d + 1) / 2) {
    const long room = (n + COLUMNS - 1) / COLUMNS * COLUMNS, wide = (half + 15) / 16 * 32;
    rows.resize(room * half), columns.resize(room * half);
    for (auto* v : {&unit, &square, &norm, &kept, &taken}) v->assign(room, 0.0f);
    tau.assign(room, -std::numeric_limits<float>::infinity());
    std::vector<float> y(wide, 0.0f);
    std::vector<int16_t> panel(COLUMNS * wide);
    for (long i0 = 0; i0 < n; i0 += COLUMNS) {
      std::fill(panel.begin(), panel.end(), int16_t(0));
      for (long i = i0; i < std::min(n, i0 + COLUMNS); i++) round(i, x + i * d, mean, y.data(), &panel[(i - i0) * wide]);
      for (long l = 0; l < half; l++)
        for (long r = 0; r < COLUMNS; r++) {
          uint32_t pair;
          std::memcpy(&pair, &panel[r * wide + 2 * l], 4);
          columns[i0 * half + l * COLUMNS + r] = pair;
          rows[(i0 + r / ROWS * ROWS) * half + l * ROWS + r % ROWS] = pair;
        }
    }
  }

  void round(long i, const float* x, const float* mean, float* y, int16_t* whole) {
    __m512d sums[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    __m512 largest = _mm512_setzero_ps(), lost = _mm512_setzero_ps();
    for (long l = 0; l < d; l += 16) {
      const __mmask16 some = d - l >= 16 ? __mmask16(-1) : __mmask16((1u << (d - l)) - 1);
      const __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(some, x + l), _mm512_maskz_loadu_ps(some, mean + l));
      _mm512_storeu_ps(y + l, v);
      largest = _mm512_max_ps(largest, _mm512_abs_ps(v));
      const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
      const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
      sums[0] = _mm512_fmadd_pd(low, low, sums[0]), sums[1] = _mm512_fmadd_pd(high, high, sums[1]);
    }
    const double all = _mm512_reduce_add_pd(_mm512_add_pd(sums[0], sums[1])), most = _mm512_reduce_max_ps(largest);
    const double longest = LONGEST - 1.0 - 0.5 * std::sqrt(double(d));  // rounding may lengthen
    const double up = all > 0 ? std::min(longest / std::sqrt(all), WIDEST / most) : 0.0;
    unit[i] = up > 0 ? float(1.0 / up) : 0.0f;
    const __m512 by = _mm512_set1_ps(float(up)), one = _mm512_set1_ps(unit[i]);
    for (long l = 0; l < d; l += 16) {
      const __m512 v = _mm512_loadu_ps(y + l);
      const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v, by));
      const __m512 off = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(q), one, v);
      lost = _mm512_fmadd_ps(off, off, lost);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(whole + l), _mm512_cvtepi32_epi16(q));
    }
    const double more = 1.0 + 1e-6 + double(d) * 0x1p-24;
    square[i] = float(all), norm[i] = float(std::sqrt(all) * more);
    taken[i] = float(std::sqrt(double(_mm512_reduce_add_ps(lost))) * more), kept[i] = (norm[i] + taken[i]) * 1.000001f;
    tau[i] = std::numeric_limits<float>::infinity();
  }
};

inline void products(long pairs, const uint32_t* rows, const uint32_t* columns, __m512i sums[ROWS][VECTORS]) {
  __m512i s[ROWS][VECTORS];
  for (auto& row : s)
    for (auto& one : row) one = _mm512_setzero_si512();
  for (long l = 0; l < pairs; l++) {
    __m512i w[VECTORS];
    for (long v = 0; v < VECTORS; v++) w[v] = _mm512_loadu_si512(columns + l * COLUMNS + 16 * v);
#pragma GCC unroll 8
    for (long t = 0; t < ROWS; t++) {
      const __m512i x = _mm512_set1_epi32(int(rows[l * ROWS + t]));
#pragma GCC unroll 3
      for (long v = 0; v < VECTORS; v++) s[t][v] = _mm512_dpwssd_epi32(s[t][v], x, w[v]);
    }
  }
  for (long t = 0; t < ROWS; t++)
    for (long v = 0; v < VECTORS; v++) sums[t][v] = s[t][v];
}

// The k-th smallest of the upper ends, which are not negative: by halving the bits of a float, whose order is
// theirs, until what is counted below is k or little more.
float least(const std::vector<Candidate>& all, long k) {
  static thread_local std::vector<int32_t> bits;
  const size_t count = all.size(), room = (count + 15) / 16 * 16;
  bits.assign(room, std::numeric_limits<int32_t>::max());
  __m512i smallest = _mm512_set1_epi32(0x7f800000), largest = _mm512_setzero_si512();
  for (size_t a = 0; a < count; a++) std::memcpy(&bits[a], &all[a].upper, 4);
  for (size_t a = 0; a + 16 <= count; a += 16) {
    smallest = _mm512_min_epi32(smallest, _mm512_loadu_si512(&bits[a]));
    largest = _mm512_max_epi32(largest, _mm512_loadu_si512(&bits[a]));
  }
  int32_t low = _mm512_reduce_min_epi32(smallest), high = _mm512_reduce_max_epi32(largest);
  for (size_t a = count / 16 * 16; a < count; a++) low = std::min(low, bits[a]), high = std::max(high, bits[a]);
  low--;  // fewer than k lie at or below low, and k or more at or below high
  while (high - low > 1) {
    const int32_t middle = low + (high - low) / 2;
    const __m512i at = _mm512_set1_epi32(middle);
    long below = 0;
    for (size_t a = 0; a < room; a += 16)
      below += __builtin_popcount(_mm512_cmple_epi32_mask(_mm512_loadu_si512(&bits[a]), at));
    (below >= k ? high : low) = middle;
    if (below == k) break;
  }
  float found;
  std::memcpy(&found, &high, 4);
  return found;
}

// How many candidates a point holds before it looks which may go.
inline size_t room_for(long k, size_t held) { return std::max(size_t(k + k / 2 + 32), held + held / 2); }

void prune(Kept& own, long k, float& tau) {
  auto& all = own.all;
  tau = least(all, k);
  size_t stay = 0;
  for (size_t a = 0; a < all.size(); a++) {
    const Candidate c = all[a];
    all[stay] = c, stay += c.lower <= tau;
  }
  all.resize(stay);
  own.full = room_for(k, stay);
}

inline void add(Kept& own, long k, float& tau, float lower, float upper, long index) {
  own.all.push_back({lower, std::max(upper, 0.0f), int32_t(index)});
  if (own.all.size() >= own.full) prune(own, k, tau);
}

// Keep what a tile shows to be near, for both points of a pair.
void keep(Cloud& cloud, long k, std::vector<Kept>& kept, long i0, long j0, const __m512i sums[ROWS][VECTORS]) {
  const long n = cloud.n;
  const __m512 two = _mm512_set1_ps(-2.0f), wide = _mm512_set1_ps(2.0f * (1.0f + 1e-5f));
  const __m512 last = _mm512_set1_ps(0x1p-20f);  // of centring, of the squares and of the sums in float32
  for (long i = i0; i < std::min(n, i0 + ROWS); i++) {
    const __m512 s = _mm512_set1_ps(cloud.square[i]), t = _mm512_set1_ps(cloud.taken[i]);
    const __m512 m = _mm512_set1_ps(cloud.kept[i]), u = _mm512_mul_ps(two, _mm512_set1_ps(cloud.unit[i]));
    for (long v = 0; v < VECTORS; v++) {
      const long j = j0 + 16 * v;
      const __m512 both = _mm512_add_ps(s, _mm512_loadu_ps(&cloud.square[j]));
      const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i - i0][v]), _mm512_loadu_ps(&cloud.unit[j]));
      const __m512 distance = _mm512_fmadd_ps(product, u, both), own = _mm512_loadu_ps(&cloud.kept[j]);
      __m512 off = _mm512_fmadd_ps(last, own, _mm512_loadu_ps(&cloud.taken[j]));
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
      for (unsigned left = open & mine; left; left &= left - 1) {
        const long q = __builtin_ctz(left);
        add(kept[i], k, cloud.tau[i], low[q], high[q], j + q);
      }
      for (unsigned left = open & theirs; left; left &= left - 1) {
        const long q = __builtin_ctz(left);
        add(kept[j + q], k, cloud.tau[j + q], low[q], high[q], i);
      }
    }
  }
}

void screen(Cloud& cloud, long k, std::vector<Kept>& kept) {
  const long n = cloud.n, half = cloud.half;
  for (long j0 = 0; j0 < n; j0 += PANELS * COLUMNS)
    for (long i0 = 0; i0 < std::min(n, j0 + PANELS * COLUMNS); i0 += ROWS) {
      for (long i = i0; i < std::min(n, i0 + ROWS); i++)  // where their lists end, which lie all over the memory
        _mm_prefetch(reinterpret_cast<const char*>(kept[i].all.data() + kept[i].all.size()), _MM_HINT_T0);
      for (long j = j0; j < std::min(n, j0 + PANELS * COLUMNS); j += COLUMNS) {
        if (i0 >= j + COLUMNS) continue;
        __m512i sums[ROWS][VECTORS];
        products(half, &cloud.rows[i0 * half], &cloud.columns[j * half], sums);
        keep(cloud, k, kept, i0, j, sums);
      }
    }
}

// Squared distances of four points from one, of a strip of columns, in float32.
inline __m128 four_apart(long wide, const float* y, const float* const x[4]) {
  __m512 s[4][2];
  for (auto& one : s) one[0] = one[1] = _mm512_setzero_ps();
  long l = 0;
  for (; l + 32 <= wide; l += 32)
    for (long h = 0; h < 2; h++) {
      const __m512 v = _mm512_loadu_ps(y + l + 16 * h);
      for (long q = 0; q < 4; q++) {
        const __m512 off = _mm512_sub_ps(v, _mm512_loadu_ps(x[q] + l + 16 * h));
        s[q][h] = _mm512_fmadd_ps(off, off, s[q][h]);
      }
    }
  for (; l < wide; l += 16) {
    const __mmask16 some = wide - l >= 16 ? __mmask16(-1) : __mmask16((1u << (wide - l)) - 1);
    const __m512 v = _mm512_maskz_loadu_ps(some, y + l);
    for (long q = 0; q < 4; q++) {
      const __m512 off = _mm512_sub_ps(v, _mm512_maskz_loadu_ps(some, x[q] + l));
      s[q][0] = _mm512_fmadd_ps(off, off, s[q][0]);
    }
  }
  __m512 t[4];
  for (long q = 0; q < 4; q++) t[q] = _mm512_add_ps(s[q][0], s[q][1]);
  const __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(t[0], t[1]), _mm512_unpackhi_ps(t[0], t[1]));
  const __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(t[2], t[3]), _mm512_unpackhi_ps(t[2], t[3]));
  const __m512d c = _mm512_castps_pd(a), e = _mm512_castps_pd(b);
  const __m512 all = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, e)), _mm512_castpd_ps(_mm512_unpackhi_pd(c, e)));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
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

// The candidates of a block of points, point by point; `first[p]` is where those of the p-th begin.
struct Block {
  long begin;
  std::vector<uint32_t> first;
  std::vector<int32_t> candidate;
  std::vector<float> square;
};

// Squared distances of a block: candidate by candidate, so that its row is fetched once for many, four points at
// a time, and a strip of columns at a time, so that the points' own stay in the cache. Strips add up in double.
void measure(long n, long d, const float* x, Block& block) {
  constexpr long STRIP = 128, AHEAD = 3;
  const long pairs = long(block.candidate.size());
  std::vector<uint32_t> start(n + 1, 0), slot(pairs);
  std::vector<int32_t> point(pairs + 3);
  std::vector<double> sums(pairs + 3, 0.0);
  for (const int32_t j : block.candidate) start[j + 1]++;
  for (long j = 0; j < n; j++) start[j + 1] += start[j];
  std::vector<uint32_t> next(start.begin(), start.end() - 1);
  for (long p = 0; p + 1 < long(block.first.size()); p++)
    for (uint32_t a = block.first[p]; a < block.first[p + 1]; a++) {
      const uint32_t at = next[block.candidate[a]]++;
      slot[at] = a, point[at] = int32_t(block.begin + p);
    }
  for (long at = 0; at < d; at += STRIP) {
    const long wide = std::min(STRIP, d - at);
    for (long j = 0; j < n; j++) {
      if (j + AHEAD < n && start[j + AHEAD] < start[j + AHEAD + 1])
        for (long l = at; l < at + wide; l += 16)
          _mm_prefetch(reinterpret_cast<const char*>(x + (j + AHEAD) * d + l), _MM_HINT_T0);
      const long end = start[j + 1];
      for (long a = start[j]; a < end; a += 4) {
        const float* rows[4];
        for (long q = 0; q < 4; q++) rows[q] = x + long(point[std::min(a + q, end - 1)]) * d + at;
        alignas(32) double found[4];
        _mm256_store_pd(found, _mm256_cvtps_pd(four_apart(wide, x + j * d + at, rows)));
        for (long q = 0; q < std::min(4L, end - a); q++) sums[a + q] += found[q];
      }
    }
  }
  block.square.resize(pairs);
  for (long a = 0; a < pairs; a++) block.square[slot[a]] = float(sums[a]);
}

// The nearest k of a point: ordered by what float32 found, then in double wherever it could not tell. A strip's
// sum is off by at most 11 units of 2^-24, as differences, their squares and ten additions are; a last one is
// that of the whole to float32.
void order(long d, long k, const float* x, long i, const Block& block, std::vector<uint64_t>& keys,
           int32_t* index, float* square) {
  const double doubt = 16 * 0x1p-24;
  const long p = i - block.begin;
  keys.clear();
  for (uint32_t a = block.first[p]; a < block.first[p + 1]; a++) {
    uint32_t bits;
    std::memcpy(&bits, &block.square[a], 4);
    keys.push_back(uint64_t(bits) << 32 | uint32_t(block.candidate[a]));
  }
  std::sort(keys.begin(), keys.end());
  const auto of = [&](size_t a) {
    const uint32_t bits = uint32_t(keys[a] >> 32);
    float v;
    std::memcpy(&v, &bits, 4);
    return v;
  };
  static thread_local std::vector<Measured> run;
  for (size_t a = 0; a < keys.size() && long(a) < k;) {
    size_t b = a + 1;
    while (b < keys.size() && of(b) * (1 - doubt) <= of(b - 1) * (1 + doubt)) b++;
    if (b == a + 1) {
      index[a] = int32_t(uint32_t(keys[a])), square[a] = of(a);
    } else {
      run.clear();
      for (size_t c = a; c < b; c++) {
        const long other = long(uint32_t(keys[c]));
        run.push_back({exactly_apart(d, x + i * d, x + other * d), int32_t(other)});
      }
      std::sort(run.begin(), run.end());
      for (size_t c = a; c < b && long(c) < k; c++) index[c] = run[c - a].index, square[c] = float(run[c - a].square);
    }
    a = b;
  }
}

std::vector<float> mean_of(long n, long d, const float* x) {
  std::vector<double> sums(d, 0.0);
  for (long i = 0; i < n; i++)
    for (long l = 0; l < d; l++) sums[l] += x[i * d + l];
  std::vector<float> mean(d);
  for (long l = 0; l < d; l++) mean[l] = float(sums[l] / double(n));
  return mean;
}

}  // namespace

extern "C" int neighbours_supported() { return 1; }

// Index and square are [n][k]. Returns how many candidates were measured in all.
extern "C" int64_t neighbours_exact(long n, long d, long k, const float* x, int32_t* index, float* square) {
  std::vector<Kept> kept(n);
  for (auto& own : kept) own.full = room_for(k, 0), own.all.reserve(own.full);
  {
    Cloud cloud(n, d, x, mean_of(n, d, x).data());
    screen(cloud, k, kept);
    for (long i = 0; i < n; i++) prune(kept[i], k, cloud.tau[i]);
  }
  constexpr long POINTS = 1024;  // at a time, so that each neighbour's row is fetched once for many
  int64_t measured = 0;
  std::vector<uint64_t> keys;
  for (long i0 = 0; i0 < n; i0 += POINTS) {
    const long i1 = std::min(n, i0 + POINTS);
    Block block{i0, {0}, {}, {}};
    for (long i = i0; i < i1; i++) {
      for (const auto& c : kept[i].all) block.candidate.push_back(c.index);
      block.first.push_back(uint32_t(block.candidate.size()));
      std::vector<Candidate>().swap(kept[i].all);
    }
    measure(n, d, x, block);
    measured += int64_t(block.candidate.size());
    for (long i = i0; i < i1; i++) order(d, k, x, i, block, keys, index + i * k, square + i * k);
  }
  return measured;
}

#else

extern "C" int neighbours_supported() { return 0; }

#endif
