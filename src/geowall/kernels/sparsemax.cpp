// Rows projected onto the probability simplex, and training steps of the autoencoder built on it (see
// sparsemax.py and spade.py, which hold the slow twins and the meaning of every argument).
//
// A row's threshold is not below its largest number less one. What may still be in the support waits in a short
// list; whenever the list has grown, the threshold of its members alone is found. That one never exceeds the
// row's own, so whatever lies below it is gone for good. Sums in double make the support that of exact
// arithmetic.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {
constexpr int VL = 16, TOKENS = 6, PANEL = 4 * VL;  // of a block of scores: 24 vectors of sums in flight
constexpr int FIRST = 256;                          // members at which a list is first cut back
constexpr float NOTHING = -std::numeric_limits<float>::infinity();
typedef float V __attribute__((vector_size(64)));

inline V load(const float* p) { V v; std::memcpy(&v, p, 64); return v; }
inline void store(float* p, V v) { std::memcpy(p, &v, 64); }

// Members of a row that may be in its support, with their places.
struct List {
  std::vector<float> value;
  std::vector<int32_t> at, place;  // places in the row; 0, 1, 2, ...
  int count = 0;
  double tau = 0;
  explicit List(int n) : value(n + VL), at(n + VL), place(n + VL) {
    std::iota(place.begin(), place.end(), 0);
  }
};

// Append what exceeds the cut among the 16 numbers at p.
inline void append(List& s, const float* p, const int32_t* at, float cut) {
#if defined(__AVX512F__)
  const __m512 v = _mm512_loadu_ps(p);
  const __mmask16 more = _mm512_cmp_ps_mask(v, _mm512_set1_ps(cut), _CMP_GT_OQ);
  if (!more) return;
  const __m512i here = _mm512_loadu_si512(at);
  _mm512_storeu_ps(&s.value[s.count], _mm512_maskz_compress_ps(more, v));
  _mm512_storeu_si512(&s.at[s.count], _mm512_maskz_compress_epi32(more, here));
  const int many = __builtin_popcount(more);
#else
  int many = 0;
  for (int l = 0; l < VL; l++) {
    const float v = p[l];
    s.value[s.count + many] = v;
    s.at[s.count + many] = at[l];
    many += v > cut;
  }
#endif
  s.count += many;
}

// A float exceeds tau exactly when it exceeds the largest float that is not above tau.
inline float floor_of(double tau) {
  float near = (float)tau;
  if ((double)near <= tau) return near;
  int32_t bits;
  std::memcpy(&bits, &near, 4);
  bits = bits == 0 ? INT32_MIN + 1 : bits + (bits > 0 ? -1 : 1);  // the float before it
  std::memcpy(&near, &bits, 4);
  return near;
}

// The list's own threshold, and only the members above it: Michelot's finite iteration, from the largest member
// less one, which no threshold is below. Nothing moves before the end: a load that waits for a store is slow.
void refine(List& s) {
  const float* value = s.value.data();
  float most = NOTHING;
#pragma omp simd reduction(max : most)
  for (int i = 0; i < s.count; i++) most = std::max(most, value[i]);
  s.tau = (double)most - 1.0;
  for (int before = -2, count = -1; before != count;) {
    const float cut = floor_of(s.tau);
    double total = 0;
    before = count;
    count = 0;
#pragma omp simd reduction(+ : total, count)
    for (int i = 0; i < s.count; i++) {
      total += value[i] > cut ? value[i] : 0.f;
      count += value[i] > cut;
    }
    if (count) s.tau = (total - 1.0) / count;
  }
  const int before = s.count;
  const float cut = floor_of(s.tau);
  std::fill(s.value.begin() + before, s.value.begin() + before + VL, NOTHING);
  s.count = 0;
  for (int i = 0; i < before; i += VL) append(s, value + i, &s.at[i], cut);
}

inline float largest(const float* row, int n) {
  float most = NOTHING;
  int i = 0;
#if defined(__AVX512F__)
  __m512 a = _mm512_set1_ps(NOTHING), b = a, c = a, d = a;
  for (; i + 4 * VL <= n; i += 4 * VL) {
    a = _mm512_max_ps(a, _mm512_loadu_ps(row + i));
    b = _mm512_max_ps(b, _mm512_loadu_ps(row + i + VL));
    c = _mm512_max_ps(c, _mm512_loadu_ps(row + i + 2 * VL));
    d = _mm512_max_ps(d, _mm512_loadu_ps(row + i + 3 * VL));
  }
  most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d)));
#endif
  for (; i < n; i++) most = row[i] > most ? row[i] : most;
  return most;
}

void support(List& s, const float* row, int n) {
  float cut = floor_of((double)largest(row, n) - 1.0);
  int most = FIRST, i = 0;
  s.count = 0;
  for (; i + VL <= n; i += VL) {
    append(s, row + i, &s.place[i], cut);
    if (s.count < most) continue;
    refine(s);
    cut = floor_of(s.tau);
    most = 2 * s.count + FIRST;
  }
  for (; i < n; i++)
    if (row[i] > cut) {
      s.value[s.count] = row[i];
      s.at[s.count++] = i;
    }
  if (s.count) refine(s);
}

struct Spade {  // views into one flat vector: prototypes, decoder rows, spare biases, the raw sharpness
  float *enc, *dec, *raw;
  Spade(float* p, int n, int d) : enc(p), dec(p + n * d), raw(p + (2 * d + 1) * n) {}
};

struct Work {
  int n, d, batch, panels, tile;
  float sharpness = 0;
  std::vector<float> weights, bias, scores, grad, residual, slope, distance;
  List list;
  Work(int n, int d, int batch)
      : n(n), d(d), batch(batch), panels((n + PANEL - 1) / PANEL),
        tile(std::max(1, 131072 / (panels * PANEL) / TOKENS) * TOKENS), weights((size_t)panels * PANEL * d),
        bias(panels * PANEL), scores((size_t)tile * panels * PANEL), grad((size_t)n * (2 * d + 2) + d),
        residual(d), slope(n + VL), distance(n + VL), list(panels * PANEL) {}
};

// Scores are 2 L w.x - L |w|^2: what is left of -L |x - w|^2 when the part that all latents share is dropped.
void pack(Work& w, const Spade& m) {
  const float raw = *m.raw;
  w.sharpness = raw > 20.f ? raw : std::log1p(std::exp(raw));
  std::fill(w.weights.begin(), w.weights.end(), 0.f);
  std::fill(w.bias.begin(), w.bias.end(), -1e30f);
  for (int j = 0; j < w.n; j++) {
    float square = 0;
    float* into = &w.weights[(size_t)(j / PANEL) * w.d * PANEL + j % PANEL];
    for (int i = 0; i < w.d; i++) {
      const float v = m.enc[(size_t)j * w.d + i];
      square += v * v;
      into[i * PANEL] = 2 * w.sharpness * v;
    }
    w.bias[j] = -w.sharpness * square;
  }
}

// Scores of TOKENS tokens for one panel of latents.
inline void block(const Work& w, const float* x, int panel, float* out) {
  V acc[TOKENS][4];
  const float *weights = &w.weights[(size_t)panel * w.d * PANEL], *bias = &w.bias[panel * PANEL];
#pragma GCC unroll 6
  for (int t = 0; t < TOKENS; t++)
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) acc[t][q] = load(bias + q * VL);
  for (int i = 0; i < w.d; i++) {
    V row[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) row[q] = load(weights + i * PANEL + q * VL);
#pragma GCC unroll 6
    for (int t = 0; t < TOKENS; t++)
#pragma GCC unroll 4
      for (int q = 0; q < 4; q++) acc[t][q] += x[(size_t)t * w.d + i] * row[q];
  }
#pragma GCC unroll 6
  for (int t = 0; t < TOKENS; t++)
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) store(out + (size_t)t * w.panels * PANEL + panel * PANEL + q * VL, acc[t][q]);
}

// One token, given its support: what it adds to the loss and to every gradient. Returns d loss / d sharpness.
// Loops over two or four dimensions are worth unrolling: FIXED is d_model, or 0 for any.
template <int FIXED>
double token(Work& w, const Spade& m, Spade& g, const float* x, float l1, double* stats, double* fired) {
  const int d = FIXED ? FIXED : w.d, count = w.list.count;
  const float scale = 2.f / w.batch, pull = l1 / w.batch;
  float *r = w.residual.data(), mean = 0;
  for (int i = 0; i < d; i++) r[i] = -x[i];
  for (int c = 0; c < count; c++) {
    const float z = (float)((double)w.list.value[c] - w.list.tau), *row = &m.dec[(size_t)w.list.at[c] * d];
    w.list.value[c] = z;
#pragma omp simd
    for (int i = 0; i < d; i++) r[i] += z * row[i];
  }
  double square = 0, weighted = 0;
#pragma omp simd reduction(+ : square)
  for (int i = 0; i < d; i++) square += r[i] * r[i];
  for (int c = 0; c < count; c++) {
    const size_t at = (size_t)w.list.at[c] * d;
    float along = 0, far = 0;
#pragma omp simd reduction(+ : along, far)
    for (int i = 0; i < d; i++) {
      const float aside = x[i] - m.enc[at + i];
      along += r[i] * m.dec[at + i];
      far += aside * aside;
    }
    w.distance[c] = far;
    w.slope[c] = scale * along + pull * far;
    mean += w.slope[c];
    weighted += (double)w.list.value[c] * far;
  }
  mean /= count;
  double sharper = 0;
  for (int c = 0; c < count; c++) {
    const size_t at = (size_t)w.list.at[c] * d;
    const float z = w.list.value[c], slope = w.slope[c] - mean;
    const float towards = 2 * (w.sharpness * slope - pull * z), share = scale * z;
    sharper -= (double)slope * w.distance[c];
    fired[w.list.at[c]] += 1;
#pragma omp simd
    for (int i = 0; i < d; i++) {
      g.enc[at + i] += towards * (x[i] - m.enc[at + i]);
      g.dec[at + i] += share * r[i];
    }
  }
  stats[0] += square;
  stats[1] += weighted;
  stats[2] += count;
  return sharper;
}

void gradients(Work& w, const Spade& m, float l1, const float* x, float* curve, double* fired) {
  pack(w, m);
  std::fill(w.grad.begin(), w.grad.end(), 0.f);
  Spade g(w.grad.data(), w.n, w.d);
  std::vector<float> rest((size_t)TOKENS * w.d);
  double stats[3] = {0, 0, 0}, sharper = 0;
  const int wide = w.panels * PANEL;
  const auto take = w.d == 2 ? token<2> : w.d == 4 ? token<4> : token<0>;
  for (int first = 0; first < w.batch; first += w.tile) {
    const int count = std::min(w.tile, w.batch - first);
    for (int t = 0; t < count; t += TOKENS) {
      const float* from = x + (size_t)(first + t) * w.d;
      if (count - t < TOKENS) {  // the last few tokens, made up to a block
        std::fill(rest.begin(), rest.end(), 0.f);
        std::copy(from, from + (size_t)(count - t) * w.d, rest.begin());
        from = rest.data();
      }
      for (int p = 0; p < w.panels; p++) block(w, from, p, &w.scores[(size_t)t * wide]);
    }
    for (int t = 0; t < count; t++) {
      support(w.list, &w.scores[(size_t)t * wide], w.n);
      if (!w.list.count) {  // a score that is not a number has no support
        stats[0] = std::numeric_limits<double>::quiet_NaN();
        break;
      }
      sharper += take(w, m, g, x + (size_t)(first + t) * w.d, l1, stats, fired);
    }
  }
  *g.raw = (float)(sharper / (1.0 + std::exp(-(double)*m.raw)));
  for (int c = 0; c < 3; c++) curve[c] = (float)(stats[c] / w.batch);
  curve[3] = 0;
}

struct Adam {  // mirrored by spade._Adam
  float l1, clip, beta1, beta2, eps;
};

void adam(Work& w, const Adam& r, float* p, float* mo, float* ve, int t, float lr) {
  const size_t size = w.grad.size();
  double square = 0;
#pragma omp simd reduction(+ : square)
  for (size_t i = 0; i < size; i++) square += (double)w.grad[i] * w.grad[i];
  const float shrink = std::min(1.f, r.clip / ((float)std::sqrt(square) + 1e-6f));
  const double c1 = 1 - std::pow((double)r.beta1, t), c2 = std::sqrt(1 - std::pow((double)r.beta2, t));
  const float step = (float)(lr / c1), root = (float)(1 / c2);
  float* __restrict__ g = w.grad.data();
  for (size_t i = 0; i < size; i++) {
    const float gi = g[i] * shrink;
    mo[i] = r.beta1 * mo[i] + (1 - r.beta1) * gi;
    ve[i] = r.beta2 * ve[i] + (1 - r.beta2) * gi * gi;
    p[i] -= step * mo[i] / (std::sqrt(ve[i]) * root + r.eps);
  }
}
}  // namespace

extern "C" {
// Rows of x onto the simplex. `out` comes zeroed; support i of row r is kept in at[r * room + i], as many as fit,
// and count[r] says how many there are.
void sparsemax_forward(int64_t rows, int n, int room, const float* x, float* out, int32_t* at, int32_t* count) {
  List s(n);
  for (int64_t r = 0; r < rows; r++) {
    support(s, x + r * n, n);
    count[r] = s.count;
    std::copy(s.at.begin(), s.at.begin() + std::min(s.count, room), at + r * room);
    for (int i = 0; i < s.count; i++) out[r * n + s.at[i]] = (float)((double)s.value[i] - s.tau);
  }
}

// The gradient on each row's support is what came back less its mean there; `grad` comes zeroed.
void sparsemax_backward(int64_t rows, int n, int room, const float* back, const float* out, const int32_t* at,
                        const int32_t* count, float* grad) {
  std::vector<int32_t> whole(n);
  for (int64_t r = 0; r < rows; r++) {
    const int32_t* here = at + r * room;
    int many = count[r];
    if (many > room) {  // more than was kept: read the support off the output
      many = 0;
      for (int i = 0; i < n; i++)
        if (out[r * n + i] > 0) whole[many++] = i;
      here = whole.data();
    }
    double mean = 0;
    for (int i = 0; i < many; i++) mean += back[r * n + here[i]];
    mean /= std::max(1, many);
    for (int i = 0; i < many; i++) grad[r * n + here[i]] = (float)(back[r * n + here[i]] - mean);
  }
}

void spade_gradients(int n, int d, int batch, float l1, float* params, const float* x, float* grad, float* curve,
                     double* fired) {
  Work w(n, d, batch);
  gradients(w, Spade(params, n, d), l1, x, curve, fired);
  std::copy(w.grad.begin(), w.grad.end(), grad);
}

// Takes `steps` steps; returns how many were taken before the loss ceased to be finite.
int spade_steps(int n, int d, int batch, int steps, const Adam* rule, float* params, float* m, float* v,
                const float* x, const float* lr, int t0, float* curve, double* fired) {
  Work w(n, d, batch);
  for (int s = 0; s < steps; s++) {
    gradients(w, Spade(params, n, d), rule->l1, x + (size_t)s * batch * d, curve + 4 * s, fired);
    if (!std::isfinite(curve[4 * s] + curve[4 * s + 1])) return s;
    adam(w, *rule, params, m, v, t0 + s + 1, lr[s]);
  }
  return steps;
}
}
