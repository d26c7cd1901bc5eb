// What local second moments need, a point at a time, so that nothing leaves the cache (see local_geometry.py,
// which holds the slow twins and the meaning of every argument).
//
// Leading eigenvalues. Only a sum of a few is wanted of most matrices, and no iteration says for certain that
// it has met them all. So each is made tridiagonal by reflections, whose two passes over the matrix are one:
// the update that the last reflection asks for and the product that the next one needs. Blocks of 16 x 16 on
// and below the diagonal suffice. Bisection by Sturm's counts, sixteen places at once, then gives the values,
// and implicit QL the vectors where they are wanted. Matrices are scaled to a trace of one.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr long L = 16;  // lanes, and the side of a block
typedef float F __attribute__((vector_size(64)));
typedef double D __attribute__((vector_size(64)));
typedef int64_t I __attribute__((vector_size(64)));

inline F load(const float* p) { F v; std::memcpy(&v, p, 64); return v; }
inline void store(float* p, F v) { std::memcpy(p, &v, 64); }
inline long up(long n, long to) { return (n + to - 1) / to * to; }
inline float sum(F v) {
  float s = 0;
  for (long q = 0; q < L; q++) s += v[q];
  return s;
}
inline F some(const float* p, long width) {  // as many lanes as there are, then zeros
  F v = {};
  std::memcpy(&v, p, 4 * width);
  return v;
}

struct Workspace {  // of a matrix of side m, made of blocks on and below its diagonal
  long m, wide;
  std::vector<float> data;
  float *a, *v, *w, *x, *p;  // the matrix; the last reflection and its product, the next and its own
  std::vector<float> turned, packed;
  std::vector<double> diagonal, beside, beta;

  explicit Workspace(long most) : data(up(most, L) * (up(most, L) + 4) + L) {
    turned.resize(most * up(most, L)), packed.resize(most * L);
    diagonal.resize(most), beside.resize(most + 1), beta.resize(most);
  }
  void set(long side) {
    m = side, wide = up(m, L);
    a = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(data.data()) + 63) / 64 * 64);
    v = a + wide * wide, w = v + wide, x = w + wide, p = x + wide;
  }
};

// Subtract v w' + w v' from the leading rows of a and multiply what comes out with x, all in one pass.
void update_and_multiply(Workspace& s, long rows) {
  const long wide = s.wide;
  std::fill(s.p, s.p + wide, 0.0f);
  for (long r = 0; r < rows; r += 4) {
    const long block = r / L * L;
    float* row[4];
    float v[4], w[4], x[4];
    F dot[4] = {};
    for (long t = 0; t < 4; t++) row[t] = s.a + (r + t) * wide, v[t] = s.v[r + t], w[t] = s.w[r + t], x[t] = s.x[r + t];
    for (long c = 0; c < block; c += L) {
      const F vc = load(s.v + c), wc = load(s.w + c), xc = load(s.x + c);
      F y = load(s.p + c);
#pragma GCC unroll 4
      for (long t = 0; t < 4; t++) {
        const F now = load(row[t] + c) - v[t] * wc - w[t] * vc;
        store(row[t] + c, now);
        dot[t] += now * xc, y += now * x[t];
      }
      store(s.p + c, y);
    }
    const F vc = load(s.v + block), wc = load(s.w + block), xc = load(s.x + block);
#pragma GCC unroll 4
    for (long t = 0; t < 4; t++) {
      const F now = load(row[t] + block) - v[t] * wc - w[t] * vc;
      store(row[t] + block, now);
      s.p[r + t] += sum(dot[t] + now * xc);
    }
  }
}

// The tridiagonal matrix of the same eigenvalues; row i of `a` keeps the reflection that emptied it.
void tridiagonal(Workspace& s) {
  const long m = s.m, wide = s.wide;
  std::fill(s.v, s.v + 4 * wide, 0.0f);
  for (long i = m - 1; i > 0; i--) {
    float* row = s.a + i * wide;
    for (long c = 0; c <= i; c++) row[c] -= s.v[i] * s.w[c] + s.w[i] * s.v[c];
    s.diagonal[i] = row[i];
    float rest = 0;
#pragma omp simd reduction(+ : rest)
    for (long c = 0; c < i - 1; c++) rest += row[c] * row[c];
    const float last = row[i - 1];
    const bool empty = i == 1 || rest < 1e-28f;
    const float norm = empty ? last : -std::copysign(std::sqrt(rest + last * last), last);
    s.beside[i] = norm;
    std::fill(s.x, s.x + wide, 0.0f);
    const float inverse = empty ? 0.0f : 1.0f / norm;  // a short row's reflection is as long as any
    for (long c = 0; c < i; c++) s.x[c] = row[c] * inverse;
    if (!empty) s.x[i - 1] -= 1.0f;
    const float beta = empty ? 0.0f : 2.0f / (rest * inverse * inverse + s.x[i - 1] * s.x[i - 1]);
    s.beta[i] = beta;
    update_and_multiply(s, i);
    float both = 0;
#pragma omp simd reduction(+ : both)
    for (long c = 0; c < i; c++) both += s.x[c] * s.p[c];
    const float half = 0.5f * beta * beta * both;
    for (long c = 0; c < i; c++) s.w[c] = beta * s.p[c] - half * s.x[c];
    std::fill(s.w + i, s.w + wide, 0.0f);
    std::copy(s.x, s.x + wide, s.v), std::copy(s.x, s.x + i, row);
  }
  s.diagonal[0] = s.a[0] - 2.0f * s.v[0] * s.w[0];
}

// The k largest of the tridiagonal matrix, which has no negative ones and a trace of one: the j-th of them is
// at most 1 / j.
void largest(const Workspace& s, long k, float* values) {
  for (long first = 0; first < k; first += L) {
    D low[2], high[2];
    for (long q = 0; q < L; q++) low[q / 8][q % 8] = -1e-6, high[q / 8][q % 8] = 1.0 / double(first + q + 1) + 1e-5;
    for (int turn = 0; turn < 26; turn++) {
      D at[2], pivot[2], square = {};
      I above[2] = {};
      for (int h = 0; h < 2; h++) at[h] = 0.5 * (low[h] + high[h]), pivot[h] = 1.0 + square;
      for (long i = 0; i < s.m; i++) {
        const double e = i ? s.beside[i] * s.beside[i] : 0.0;
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
          pivot[h] = (s.diagonal[i] - at[h]) - e / pivot[h];
          const D small = square + 1e-30;
          pivot[h] = (pivot[h] < small) & (pivot[h] > -small) ? -small : pivot[h];
          above[h] += pivot[h] > 0.0;  // a true lane is -1
        }
      }
      for (int h = 0; h < 2; h++)
        for (long q = 0; q < 8; q++) {
          const bool more = -above[h][q] > first + 8 * h + q;
          (more ? low : high)[h][q] = at[h][q];
        }
    }
    for (long q = 0; q < std::min(L, k - first); q++)
      values[first + q] = float(std::max(0.0, 0.5 * (low[q / 8][q % 8] + high[q / 8][q % 8])));
  }
}

// Implicit QL of the tridiagonal matrix; rows of `turned` become its eigenvectors. False where it stalls.
bool diagonalise(Workspace& s) {
  const long m = s.m, wide = s.wide;
  double *d = s.diagonal.data(), *e = s.beside.data() + 1;  // e[i] lies between i and i + 1
  std::fill(s.turned.begin(), s.turned.begin() + m * wide, 0.0f);
  for (long i = 0; i < m; i++) s.turned[i * wide + i] = 1.0f;
  e[m - 1] = 0.0;
  for (long l = 0; l < m; l++)
    for (int turn = 0;; turn++) {
      long end = l;
      while (end < m - 1 && std::abs(e[end]) > 1e-15 * (std::abs(d[end]) + std::abs(d[end + 1])) + 1e-18) end++;
      if (end == l) break;
      if (turn == 60) return false;
      double g = (d[l + 1] - d[l]) / (2.0 * e[l]), r = std::sqrt(g * g + 1.0);
      g = d[end] - d[l] + e[l] / (g + std::copysign(r, g));
      double sine = 1.0, cosine = 1.0, p = 0.0;
      long i = end - 1;
      for (; i >= l; i--) {
        const double f = sine * e[i], b = cosine * e[i];
        r = std::sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r == 0.0) {
          d[i + 1] -= p, e[end] = 0.0;
          break;
        }
        sine = f / r, cosine = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * sine + 2.0 * cosine * b;
        p = sine * r;
        d[i + 1] = g + p;
        g = cosine * r - b;
        float *one = &s.turned[i * wide], *two = one + wide;
        const float sf = float(sine), cf = float(cosine);
        for (long c = 0; c < wide; c += L) {
          const F a = load(one + c), z = load(two + c);
          store(two + c, sf * a + cf * z), store(one + c, cf * a - sf * z);
        }
      }
      if (r == 0.0 && i >= l) continue;
      d[l] -= p, e[l] = g, e[end] = 0.0;
    }
  return true;
}

// Values and vectors [m][k] of the k largest; the reflections turn the vectors back, sixteen at a time.
bool largest_with_vectors(Workspace& s, long k, float* values, float* vectors) {
  if (!diagonalise(s)) return false;
  const long m = s.m;
  std::vector<long> order(m);
  for (long i = 0; i < m; i++) order[i] = i;
  std::sort(order.begin(), order.end(), [&](long i, long j) { return s.diagonal[i] > s.diagonal[j]; });
  for (long j = 0; j < k; j++) values[j] = float(std::max(0.0, s.diagonal[order[j]]));
  for (long first = 0; first < k; first += L) {
    const long width = std::min(L, k - first);
    std::fill(s.packed.begin(), s.packed.begin() + m * L, 0.0f);
    for (long j = 0; j < width; j++)
      for (long r = 0; r < m; r++) s.packed[r * L + j] = s.turned[order[first + j] * s.wide + r];
    for (long i = 2; i < m; i++) {
      const float* row = s.a + i * s.wide;
      F dot = {}, more = {};
      for (long r = 0; r + 1 < i; r += 2) dot += row[r] * load(&s.packed[r * L]), more += row[r + 1] * load(&s.packed[(r + 1) * L]);
      if (i % 2) dot += row[i - 1] * load(&s.packed[(i - 1) * L]);
      dot = float(s.beta[i]) * (dot + more);
      for (long r = 0; r < i; r++) store(&s.packed[r * L], load(&s.packed[r * L]) - row[r] * dot);
    }
    for (long r = 0; r < m; r++) std::copy_n(&s.packed[r * L], width, vectors + r * k + first);
  }
  return true;
}

// The leading values of the matrix in `s.a`, whose trace is given; zeros where there is no spread, and no number
// where the trace is none.
bool leading(Workspace& s, float trace, long k, float* values, float* vectors) {
  if (!(trace > 1e-37f) || !std::isfinite(trace)) {
    std::fill(values, values + k, std::isfinite(trace) ? 0.0f : std::nanf(""));
    for (long i = 0; vectors && i < s.m * k; i++) vectors[i] = i / k == i % k;
    return true;
  }
  const float shrink = 1.0f / trace;
  for (long r = 0; r < s.m; r++)
    for (long c = 0; c < r / L * L + L; c++) s.a[r * s.wide + c] = c < s.m ? s.a[r * s.wide + c] * shrink : 0.0f;
  tridiagonal(s);
  if (!vectors) largest(s, k, values);
  else if (!largest_with_vectors(s, k, values, vectors)) return false;
  for (long j = 0; j < k; j++) values[j] *= trace;
  return true;
}

// Inner products of a point's neighbours seen from the point, on and below the diagonal's blocks.
void seen(long n, const double* tile, long own, const int32_t* near, long K, long wide, double* mine, float* gram) {
  const double* of = tile + own * n;
  for (long j = 0; j < wide; j++) mine[j] = of[near[j]];
  for (long j = 0; j < K; j++) {
    const double *row = tile + long(near[j]) * n, less = mine[j] - of[own];
    for (long l = 0; l < j / L * L + L; l++) gram[j * wide + l] = float(row[near[l]] - less - mine[l]);
  }
}

// From moments about the point to moments about the mean of the first `m`.
void recentre(Workspace& s) {
  std::vector<double> mean(s.m, 0.0);
  double whole = 0;
  for (long r = 0; r < s.m; r++)
    for (long c = 0; c <= r; c++) {
      const double g = s.a[r * s.wide + c];
      mean[r] += g / s.m;
      if (c < r) mean[c] += g / s.m;
    }
  for (const double one : mean) whole += one / s.m;
  for (long r = 0; r < s.m; r++)
    for (long c = 0; c < std::min(s.m, r / L * L + L); c++) s.a[r * s.wide + c] += float(whole - mean[r] - mean[c]);
}

// Trace and sum of squares of the matrix in `s.a`.
void traces(const Workspace& s, float& trace, float& square) {
  double once = 0, twice = 0;
  for (long r = 0; r < s.m; r++) {
    const float* row = s.a + r * s.wide;
    float below = 0;
#pragma omp simd reduction(+ : below)
    for (long c = 0; c < r; c++) below += row[c] * row[c];
    once += row[r], twice += 2.0 * below + double(row[r]) * row[r];
  }
  trace = float(once), square = float(twice);
}

}  // namespace

// Upper and lower half of y y', each sum taken once: strips of d, 8 x 24 sums in registers.
extern "C" void local_tile(long n, long d, const double* y, double* tile) {
  constexpr long ROWS = 8, V = 3, WIDE = 8 * V, STRIP = 512, PANELS = 4;
  const long room = up(n, WIDE * PANELS);
  std::vector<double> rows(room * STRIP), columns(room * STRIP);
  for (long at = 0; at < d; at += STRIP) {
    const long deep = std::min(STRIP, d - at);
    for (long i = 0; i < n; i++)
      for (long l = 0; l < deep; l++) {
        const double v = y[i * d + at + l];
        rows[(i / ROWS * STRIP + l) * ROWS + i % ROWS] = v;
        columns[(i / WIDE * STRIP + l) * WIDE + i % WIDE] = v;
      }
    for (long j0 = 0; j0 < n; j0 += WIDE * PANELS)
      for (long i = 0; i < std::min(n, j0 + WIDE * PANELS); i += ROWS)
        for (long j = j0; j < std::min(n, j0 + WIDE * PANELS); j += WIDE) {
          if (i >= j + WIDE) continue;
          const double *left = &rows[i * STRIP], *right = &columns[j * STRIP];
          D s[ROWS][V] = {};
          for (long l = 0; l < deep; l++) {
            D w[V];
            for (long v = 0; v < V; v++) std::memcpy(&w[v], right + l * WIDE + 8 * v, 64);
#pragma GCC unroll 8
            for (long t = 0; t < ROWS; t++)
#pragma GCC unroll 3
              for (long v = 0; v < V; v++) s[t][v] += left[l * ROWS + t] * w[v];
          }
          for (long t = 0; t < std::min(ROWS, n - i); t++)
            for (long c = 0; c < std::min(WIDE, n - j); c++) {
              double& sum = tile[(i + t) * n + j + c];
              sum = (at ? sum : 0.0) + s[t][c / 8][c % 8];
            }
        }
  }
  constexpr long B = 32;
  for (long i = 0; i < n; i += B)
    for (long j = i; j < n; j += B)
      for (long r = i; r < std::min(n, i + B); r++)
        for (long c = std::max(j, r + 1); c < std::min(n, j + B); c++) tile[c * n + r] = tile[r * n + c];
}

// Leading values [count][k] and, unless null, vectors [count][m][k] of symmetric matrices [count][m][m].
// Returns how many were not found.
extern "C" int64_t local_leading(long count, long m, const float* matrices, long k, float* values, float* vectors) {
  Workspace s(m);
  int64_t lost = 0;
  for (long b = 0; b < count; b++, matrices += m * m) {
    s.set(m);
    double trace = 0;
    for (long r = 0; r < m; r++) {
      std::copy_n(matrices + r * m, std::min(m, r / L * L + L), s.a + r * s.wide);
      trace += matrices[r * m + r];
    }
    lost += !leading(s, float(trace), k, values + b * k, vectors ? vectors + b * m * k : nullptr);
  }
  return lost;
}

// Traces, squares [count][scales] and leading values [count][scales][dim] of the moments of neighbourhoods, and
// the vectors [count][basis_scale][dim] of one scale, from all inner products of the cloud.
extern "C" int64_t local_moments(long n, const double* tile, long count, const int64_t* own, const int64_t* index,
                                 long across, const int64_t* scales, long n_scales, long dim, long basis_scale,
                                 long about_mean, float* trace, float* square, float* values, float* vectors) {
  const long K = *std::max_element(scales, scales + n_scales), wide = up(K, L);
  Workspace s(K);
  std::vector<float> gram(wide * wide);
  std::vector<double> mine(wide);
  std::vector<int32_t> near(wide);
  int64_t lost = 0;
  for (long b = 0; b < count; b++) {
    for (long j = 0; j < wide; j++) near[j] = int32_t(index[b * across + std::min(j, K - 1)]);
    seen(n, tile, own[b], near.data(), K, wide, mine.data(), gram.data());
    for (long q = 0; q < n_scales; q++) {
      const long at = b * n_scales + q;
      s.set(scales[q]);
      for (long r = 0; r < s.m; r++) std::copy_n(&gram[r * wide], r / L * L + L, s.a + r * s.wide);
      if (about_mean) recentre(s);
      traces(s, trace[at], square[at]);
      float* wanted = scales[q] == basis_scale ? vectors + b * basis_scale * dim : nullptr;
      lost += !leading(s, trace[at], dim, values + at * dim, wanted);
    }
  }
  return lost;
}

// Sums of differences: out [count][d][dim] = (neighbours - point, or - their mean)' weights [count][K][dim].
extern "C" void local_directions(long d, const float* x, long count, const int64_t* own, const int64_t* index,
                                 long across, long K, long dim, long about_mean, const float* weights, float* out) {
  constexpr long STRIP = 64;
  std::vector<float> off(K * STRIP), w(K * L);
  for (long b = 0; b < count; b++)
    for (long first = 0; first < dim; first += L) {
      const long width = std::min(L, dim - first);
      for (long j = 0; j < K; j++) store(&w[j * L], some(weights + (b * K + j) * dim + first, width));
      for (long at = 0; at < d; at += STRIP) {
        const long deep = std::min(STRIP, d - at);
        const float* centre = x + own[b] * d + at;
        float mean[STRIP] = {};
        for (long j = 0; j < K; j++) {
          const float* row = x + index[b * across + j] * d + at;
          for (long l = deep; l < std::min(2 * STRIP, d - at); l += L) __builtin_prefetch(row + l);
          for (long l = 0; l < deep; l++) off[j * STRIP + l] = row[l] - centre[l];
          if (about_mean)
            for (long l = 0; l < deep; l++) mean[l] += off[j * STRIP + l] / float(K);
        }
        for (long j = 0; about_mean && j < K; j++)
          for (long l = 0; l < deep; l++) off[j * STRIP + l] -= mean[l];
        for (long l = 0; l < deep; l += 16) {
          F s[16] = {};
          for (long j = 0; j < K; j++) {
            const F v = load(&w[j * L]);
#pragma GCC unroll 16
            for (long t = 0; t < 16; t++) s[t] += off[j * STRIP + l + t] * v;
          }
          for (long t = 0; t < std::min(16L, deep - l); t++)
            std::memcpy(out + (b * d + at + l + t) * dim + first, &s[t], 4 * width);
        }
      }
    }
}

// Squared cosines between pairs of subspaces, summed over the leading so many directions of both: out
// [count][J][dims]. Bases are [place][d][dim]; five of the one side meet five vectors of sixteen of the other in
// registers.
extern "C" void local_overlap(long places, long d, long dim, const float* basis, long count, const int64_t* own,
                              const int64_t* near, long J, const int64_t* dims, long n_dims, float* out) {
  constexpr long STRIP = 128, R = 5, C = 5;
  const long groups = (dim + L - 1) / L, vectors = groups * J, room = up(dim, R);
  std::vector<float> theirs(STRIP * C * L), mine(STRIP * room);
  std::vector<float> sums(up(vectors, C) * room * L);
  const long end = places * d * dim;
  for (long b = 0; b < count; b++) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (long at = 0; at < d; at += STRIP) {
      const long deep = std::min(STRIP, d - at);
      for (long l = 0; l < deep; l++) {
        std::copy_n(basis + (own[b] * d + at + l) * dim, dim, &mine[l * room]);
        std::fill(&mine[l * room] + dim, &mine[l * room] + room, 0.0f);
      }
      for (long c0 = 0; c0 < vectors; c0 += C) {
        for (long c = c0; c < c0 + C; c++) {
          const long j = std::min(c, vectors - 1) / groups, first = std::min(c, vectors - 1) % groups * L;
          const long width = std::min(L, dim - first);
          F within = {};
          for (long q = 0; q < width; q++) within[q] = 1.0f;
          for (long l = 0; l < deep; l++) {
            const long from = (near[b * J + j] * d + at + l) * dim + first;
            store(&theirs[(l * C + c - c0) * L], from + L <= end ? load(basis + from) * within : some(basis + from, width));
          }
        }
        for (long r0 = 0; r0 < room; r0 += R) {
          F s[R][C];
          for (long r = 0; r < R; r++)
            for (long c = 0; c < C; c++) s[r][c] = load(&sums[((r0 + r) * up(vectors, C) + c0 + c) * L]);
          for (long l = 0; l < deep; l++) {
            F v[C];
            for (long c = 0; c < C; c++) v[c] = load(&theirs[(l * C + c) * L]);
#pragma GCC unroll 5
            for (long r = 0; r < R; r++)
#pragma GCC unroll 5
              for (long c = 0; c < C; c++) s[r][c] += mine[l * room + r0 + r] * v[c];
          }
          for (long r = 0; r < R; r++)
            for (long c = 0; c < C; c++) store(&sums[((r0 + r) * up(vectors, C) + c0 + c) * L], s[r][c]);
        }
      }
    }
    for (long j = 0; j < J; j++)
      for (long q = 0; q < n_dims; q++) {
        double whole = 0;
        for (long r = 0; r < dims[q]; r++)
          for (long c = 0; c < dims[q]; c++) {
            const float one = sums[(r * up(vectors, C) + j * groups + c / L) * L + c % L];
            whole += double(one) * one;
          }
        out[(b * J + j) * n_dims + q] = float(whole);
      }
  }
}
