// Training steps of one small sparse autoencoder, compiled for one D_MODEL (see small_sae.py, which holds the
// slow twin and the meaning of every argument).
//
// Lanes are tokens. A latent's row of weights is broadcast against vectors of 16 tokens, so the forward pass
// needs no reduction across lanes; codes exist for a few latents and tokens at a time, in L1. Vectors of tokens
// on which a group of J latents is silent are skipped on the way back.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {
constexpr int D = D_MODEL, VL = 16;
constexpr int J = 4;     // latents in flight: a token vector is loaded once for all of them
constexpr int RUN = 16;  // token vectors whose codes wait in L1 for the weight gradients
constexpr int TILE = D % 4 ? (D % 3 ? (D % 2 ? 1 : 2) : 3) : 4;  // dimensions in flight there
typedef float V __attribute__((vector_size(64)));
typedef int32_t M __attribute__((vector_size(64)));
enum { RELU, JUMPRELU, TOPK, BATCHTOPK, PURSUIT };

struct Rule {  // mirrored by small_sae._Rule
  int32_t architecture, k;
  float l1, l0, bandwidth, clip, beta1, beta2, eps;
};

inline V all(float s) { return s - V{}; }
inline V load(const float* p) { V v; std::memcpy(&v, p, 64); return v; }
inline void store(float* p, V v) { std::memcpy(p, &v, 64); }
inline bool any(M m) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)m, (__m512i)m) != 0;
#else
  int32_t o = 0;
  for (int i = 0; i < VL; i++) o |= m[i];
  return o != 0;
#endif
}
inline float sum(V v) {
  float s = 0;
  for (int i = 0; i < VL; i++) s += v[i];
  return s;
}
inline int total(M m) {
#if defined(__AVX512F__)
  return __builtin_popcount(_mm512_test_epi32_mask((__m512i)m, (__m512i)m));
#else
  int32_t o = 0;
  for (int i = 0; i < VL; i++) o -= m[i];
  return o;
#endif
}
inline V keep(M m, V v) { return m ? v : V{}; }
struct Model {  // views into one flat vector: rows of the encoder, rows of the decoder, biases, thresholds
  float *enc, *dec, *b_enc, *log_threshold, *b_dec;
  Model(float* p, int n)
      : enc(p), dec(p + n * D), b_enc(p + 2 * n * D), log_threshold(b_enc + n), b_dec(b_enc + 2 * n) {}
};

struct Work {
  int n, rows, batch, vectors;
  std::vector<float> x, err, cut, theta, enc, dec, bias, grad, pool;
  std::vector<uint8_t> hit;
  Work(int n, int batch)
      : n(n), rows((n + J - 1) / J * J), batch(batch), vectors((batch + VL - 1) / VL), x(vectors * VL * D),
        err(x.size()), cut(vectors * VL), theta(rows), enc(rows * D), dec(rows * D), bias(rows),
        grad((2 * D + 2) * n + D), hit((size_t)(rows / J) * vectors) {}
};

// Tokens go into vectors, [vector][D][VL]; latents into groups of J, padded with some that never fire.
void pack(Work& w, const Model& m, const Rule& r, const float* x) {
  std::fill(w.x.begin(), w.x.end(), 0.f);
  for (int t = 0; t < w.batch; t++)
    for (int i = 0; i < D; i++) w.x[(size_t)(t / VL) * D * VL + i * VL + t % VL] = x[(size_t)t * D + i];
  std::copy(m.enc, m.enc + w.n * D, w.enc.begin());
  std::copy(m.dec, m.dec + w.n * D, w.dec.begin());
  std::fill(std::copy(m.b_enc, m.b_enc + w.n, w.bias.begin()), w.bias.end(), -1e30f);
  for (int j = 0; j < w.n; j++)
    w.theta[j] = r.architecture == JUMPRELU ? std::exp(m.log_threshold[j]) : 0.f;
}

inline void pre(const Work& w, int vector, int j, V* p) {
  const float *px = &w.x[(size_t)vector * D * VL], *we = &w.enc[j * D];
#pragma GCC unroll 4
  for (int q = 0; q < J; q++) p[q] = all(w.bias[j + q]);
#pragma GCC unroll 32
  for (int i = 0; i < D; i++) {
    V x = load(px + i * VL);
#pragma GCC unroll 4
    for (int q = 0; q < J; q++) p[q] += we[q * D + i] * x;
  }
}

// A token's cut is the value that a pre-activation must exceed; padding can never exceed its own.
void cut_topk(Work& w, int k) {
  std::vector<V> top(k);
  V p[J];
  for (int v = 0; v < w.vectors; v++) {
    std::fill(top.begin(), top.end(), V{});
    for (int j = 0; j < w.rows; j += J) {
      pre(w, v, j, p);
      for (int q = 0; q < J; q++) {
        if (!any(p[q] > top[k - 1])) continue;
        for (int i = 0; i < k; i++) {
          M more = p[q] > top[i];
          V high = more ? p[q] : top[i];
          p[q] = more ? top[i] : p[q];
          top[i] = high;
        }
      }
    }
    for (int l = 0; l < VL; l++)
      w.cut[v * VL + l] = std::max(0.f, std::nextafter(top[k - 1][l], -1.f));
  }
}

float cut_batchtopk(Work& w, int k) {
  V p[J];
  w.pool.clear();
  for (int v = 0; v < w.vectors; v++) {
    const int real = std::min(VL, w.batch - v * VL);
    for (int j = 0; j < w.rows; j += J) {
      pre(w, v, j, p);
      for (int q = 0; q < J; q++) {
        if (!any(p[q] > V{})) continue;
        for (int l = 0; l < real; l++)
          if (p[q][l] > 0) w.pool.push_back(p[q][l]);
      }
    }
  }
  const size_t kept = (size_t)k * w.batch;
  if (w.pool.size() <= kept) return 0.f;
  std::nth_element(w.pool.begin(), w.pool.begin() + (kept - 1), w.pool.end(), std::greater<float>());
  return std::max(0.f, std::nextafter(w.pool[kept - 1], -1.f));
}

float set_cuts(Work& w, const Rule& r) {
  const float shared = r.architecture == BATCHTOPK ? cut_batchtopk(w, r.k) : 0.f;
  std::fill(w.cut.begin(), w.cut.end(), shared);
  if (r.architecture == TOPK && r.k < w.n) cut_topk(w, r.k);
  std::fill(w.cut.begin() + w.batch, w.cut.end(), std::numeric_limits<float>::max());
  return shared;
}

// One vector of tokens through every latent; leaves the error in w.err and which groups matter in w.hit.
void forward_vector(Work& w, const Model& m, const Rule& r, int v, double* stats, double* fired) {
  V out[D], p[J], code = {}, count = {}, square = {};
  const V cut = load(&w.cut[v * VL]);
  const M real = cut < all(1e30f);
  const float near = r.architecture == JUMPRELU ? 0.5f * r.bandwidth : 0.f;
  for (int i = 0; i < D; i++) out[i] = all(m.b_dec[i]);
  for (int j = 0; j < w.rows; j += J) {
    pre(w, v, j, p);
    M on[J], some = {}, close = {};
#pragma GCC unroll 4
    for (int q = 0; q < J; q++) {
      on[q] = (p[q] > cut) & (p[q] > all(w.theta[j + q]));
      some |= on[q];
      if (near > 0) close |= (p[q] > all(w.theta[j + q] - near)) & real;
    }
    const bool active = any(some);
    w.hit[(size_t)(j / J) * w.vectors + v] = active || any(close);
    if (!active) continue;
#pragma GCC unroll 4
    for (int q = 0; q < J; q++) {
      const V here = keep(on[q], all(1.f));
      p[q] = keep(on[q], p[q]);
      code += p[q];
      count += here;
      if (j + q < w.n) fired[j + q] += total(on[q]);
    }
#pragma GCC unroll 32
    for (int i = 0; i < D; i++)
#pragma GCC unroll 4
      for (int q = 0; q < J; q++) out[i] += w.dec[(j + q) * D + i] * p[q];
  }
  for (int i = 0; i < D; i++) {
    const size_t at = ((size_t)v * D + i) * VL;
    const V e = keep(real, out[i] - load(&w.x[at]));
    square += e * e;
    store(&w.err[at], e);
  }
  stats[0] += sum(square);
  stats[1] += sum(code);
  stats[2] += sum(count);
}

// Codes and the error sent back, of J latents on one vector of tokens.
inline void send_back(const Work& w, const Rule& r, int v, int j, V* f, V* push, V* gt) {
  const float scale = 2.f / w.batch, l1 = r.l1 / w.batch, *pe = &w.err[(size_t)v * D * VL];
  const V cut = load(&w.cut[v * VL]);
  pre(w, v, j, f);
  V back[J] = {};
#pragma GCC unroll 32
  for (int i = 0; i < D; i++) {
    const V e = load(pe + i * VL);
#pragma GCC unroll 4
    for (int q = 0; q < J; q++) back[q] += w.dec[(j + q) * D + i] * e;
  }
#pragma GCC unroll 4
  for (int q = 0; q < J; q++) {
    const float theta = w.theta[j + q], half = 0.5f * r.bandwidth;
    const M on = (f[q] > cut) & (f[q] > all(theta));
    back[q] = scale * back[q] + all(l1);
    if (r.architecture == JUMPRELU) {
      const V z = f[q] - all(theta);
      const M near = (z < all(half)) & (z > all(-half)) & (cut < all(1e30f));
      gt[q] -= keep(near, (theta / r.bandwidth) * back[q] + all(r.l0 / (w.batch * r.bandwidth)));
    }
    f[q] = keep(on, f[q]);
    push[q] = keep(on, back[q]);
  }
}

// into[q][i] += sum over the vectors of a run of left[vector][q] * right[vector][i], lanes kept apart.
inline void outer(const std::vector<float>& right, const V (*left)[J], const int* which, int count, V (*into)[D]) {
  for (int i0 = 0; i0 < D; i0 += TILE) {
    V acc[J][TILE];
#pragma GCC unroll 4
    for (int q = 0; q < J; q++)
#pragma GCC unroll 4
      for (int i = 0; i < TILE; i++) acc[q][i] = into[q][i0 + i];
    for (int c = 0; c < count; c++) {
      const float* p = &right[((size_t)which[c] * D + i0) * VL];
#pragma GCC unroll 4
      for (int i = 0; i < TILE; i++) {
        const V x = load(p + i * VL);
#pragma GCC unroll 4
        for (int q = 0; q < J; q++) acc[q][i] += left[c][q] * x;
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < J; q++)
#pragma GCC unroll 4
      for (int i = 0; i < TILE; i++) into[q][i0 + i] = acc[q][i];
  }
}

// The gradient of J latents over the whole batch.
void backward_group(Work& w, const Rule& r, int j, Model& g) {
  V ge[J][D] = {}, gd[J][D] = {}, gb[J] = {}, gt[J] = {}, f[RUN][J], push[RUN][J];
  const uint8_t* hit = &w.hit[(size_t)(j / J) * w.vectors];
  int which[RUN], count = 0;
  for (int v = 0; v <= w.vectors; v++) {
    if (v < w.vectors && hit[v]) {
      send_back(w, r, v, j, f[count], push[count], gt);
      for (int q = 0; q < J; q++) gb[q] += push[count][q];
      which[count++] = v;
    }
    if (count == RUN || (v == w.vectors && count)) {
      outer(w.x, push, which, count, ge);
      outer(w.err, f, which, count, gd);
      count = 0;
    }
  }
  for (int q = 0; q < J && j + q < w.n; q++) {
    for (int i = 0; i < D; i++) {
      g.enc[(j + q) * D + i] = sum(ge[q][i]);
      g.dec[(j + q) * D + i] = 2.f / w.batch * sum(gd[q][i]);
    }
    g.b_enc[j + q] = sum(gb[q]);
    g.log_threshold[j + q] = w.theta[j + q] * sum(gt[q]);
  }
}

// Matching pursuit: the latent that explains most of what is left of each token, and how much of it.
inline void best_match(const Work& w, const V* left, V& code, M& latent) {
  code = V{};
  latent = M{};
  for (int j = 0; j < w.n; j++) {
    V p = {};
#pragma GCC unroll 32
    for (int i = 0; i < D; i++) p += w.dec[j * D + i] * left[i];
    const M more = p > code;
    code = more ? p : code;
    latent = more ? j - M{} : latent;
  }
}

// One vector of tokens through k matches, and back through them: a match moves what the next ones see.
void pursue_vector(Work& w, const Rule& r, int v, const float* b_dec, Model& g, double* stats, double* fired) {
  std::vector<V> left((r.k + 1) * D), code(r.k);
  std::vector<M> latent(r.k);
  const int real = std::min(VL, w.batch - v * VL);
  for (int i = 0; i < D; i++) left[i] = load(&w.x[((size_t)v * D + i) * VL]) - all(b_dec[i]);
  for (int s = 0; s < r.k; s++) {
    best_match(w, &left[s * D], code[s], latent[s]);
    for (int i = 0; i < D; i++)
      for (int l = 0; l < VL; l++)
        left[(s + 1) * D + i][l] = left[s * D + i][l] - code[s][l] * w.dec[latent[s][l] * D + i];
  }
  for (int l = 0; l < real; l++) {
    float back[D];
    for (int i = 0; i < D; i++) {
      const float e = left[r.k * D + i][l];
      stats[0] += e * e;
      back[i] = 2.f / w.batch * e;
    }
    for (int s = r.k - 1; s >= 0; s--) {
      const float c = code[s][l];
      if (c <= 0) continue;
      const int j = latent[s][l];
      bool again = false;
      for (int before = 0; before < s; before++) again |= latent[before][l] == j && code[before][l] > 0;
      const float* row = &w.dec[j * D];
      float push = r.l1 / w.batch;
      for (int i = 0; i < D; i++) push -= back[i] * row[i];
      for (int i = 0; i < D; i++) {
        g.dec[j * D + i] += push * left[s * D + i][l] - c * back[i];
        back[i] += push * row[i];
      }
      stats[1] += c;
      stats[2] += !again;
      fired[j] += !again;
    }
    for (int i = 0; i < D; i++) g.b_dec[i] -= back[i];
  }
}

void pursuit_gradients(Work& w, const Model& m, const Rule& r, const float* x, float* curve, double* fired) {
  pack(w, m, r, x);
  std::fill(w.grad.begin(), w.grad.end(), 0.f);
  Model g(w.grad.data(), w.n);
  double stats[3] = {0, 0, 0};
  for (int v = 0; v < w.vectors; v++) pursue_vector(w, r, v, m.b_dec, g, stats, fired);
  for (int c = 0; c < 3; c++) curve[c] = (float)(stats[c] / w.batch);
  curve[3] = 0;
}

void gradients(Work& w, const Model& m, const Rule& r, const float* x, float* curve, double* fired) {
  if (r.architecture == PURSUIT) return pursuit_gradients(w, m, r, x, curve, fired);
  pack(w, m, r, x);
  const float shared = set_cuts(w, r);
  double stats[3] = {0, 0, 0};
  for (int v = 0; v < w.vectors; v++) forward_vector(w, m, r, v, stats, fired);
  Model g(w.grad.data(), w.n);
  for (int j = 0; j < w.rows; j += J) backward_group(w, r, j, g);
  for (int i = 0; i < D; i++) {
    V s = {};
    for (int v = 0; v < w.vectors; v++) s += load(&w.err[((size_t)v * D + i) * VL]);
    g.b_dec[i] = 2.f / w.batch * sum(s);
  }
  for (int c = 0; c < 3; c++) curve[c] = (float)(stats[c] / w.batch);
  curve[3] = shared;
}

// Only what changes a direction reaches the decoder: its rows stay on the unit sphere.
void project(Work& w, const Model& m) {
  float* gd = w.grad.data() + w.n * D;
  for (int j = 0; j < w.n; j++) {
    float along = 0;
    for (int i = 0; i < D; i++) along += gd[j * D + i] * m.dec[j * D + i];
    for (int i = 0; i < D; i++) gd[j * D + i] -= along * m.dec[j * D + i];
  }
}

void adam(Work& w, const Rule& r, float* p, float* mo, float* ve, int t, float lr) {
  const int size = (int)w.grad.size();
  double square = 0;
#pragma omp simd reduction(+ : square)
  for (int i = 0; i < size; i++) square += (double)w.grad[i] * w.grad[i];
  const float norm = (float)std::sqrt(square), shrink = std::min(1.f, r.clip / (norm + 1e-6f));
  const double c1 = 1 - std::pow((double)r.beta1, t), c2 = std::sqrt(1 - std::pow((double)r.beta2, t));
  const float step = (float)(lr / c1), root = (float)(1 / c2);
  float* __restrict__ g = w.grad.data();
  for (int i = 0; i < size; i++) {
    const float gi = g[i] * shrink;
    mo[i] = r.beta1 * mo[i] + (1 - r.beta1) * gi;
    ve[i] = r.beta2 * ve[i] + (1 - r.beta2) * gi * gi;
    p[i] -= step * mo[i] / (std::sqrt(ve[i]) * root + r.eps);
  }
}

void normalise(const Model& m, int n) {
  for (int j = 0; j < n; j++) {
    float square = 0;
    for (int i = 0; i < D; i++) square += m.dec[j * D + i] * m.dec[j * D + i];
    const float scale = 1.f / std::max(std::sqrt(square), 1e-12f);
    for (int i = 0; i < D; i++) m.dec[j * D + i] *= scale;
  }
}
}  // namespace

extern "C" {
void sae_gradients(int n, int batch, const Rule* rule, float* params, const float* x, float* grad,
                   float* curve, double* fired) {
  Work w(n, batch);
  gradients(w, Model(params, n), *rule, x, curve, fired);
  std::copy(w.grad.begin(), w.grad.end(), grad);
}

// Takes `steps` steps; returns how many were taken before the loss ceased to be finite.
int sae_steps(int n, int batch, int steps, const Rule* rule, float* params, float* m, float* v, const float* x,
              const float* lr, int t0, float* curve, double* fired) {
  Work w(n, batch);
  Model model(params, n);
  for (int s = 0; s < steps; s++) {
    gradients(w, model, *rule, x + (size_t)s * batch * D, curve + 4 * s, fired);
    if (!std::isfinite(curve[4 * s] + curve[4 * s + 1])) return s;
    project(w, model);
    adam(w, *rule, params, m, v, t0 + s + 1, lr[s]);
    normalise(model, n);
  }
  return steps;
}
}
