// Training steps of one small sparse autoencoder, compiled for one D_MODEL (see small_sae.py, which holds the
// slow twin and the meaning of every argument).
//
// Lanes are tokens. A latent's row of weights is broadcast against vectors of 16 tokens, so the forward pass
// needs no reduction across lanes, codes are never written, and the backward pass keeps the gradient of one
// latent in registers while it runs over the batch. Blocks of tokens on which a latent is silent are skipped.
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
constexpr int TV = D <= 4 ? 4 : D <= 8 ? 2 : 1;  // token vectors in flight: what the registers hold
constexpr int BLOCK = TV * VL;
typedef float V __attribute__((vector_size(64)));
typedef int32_t M __attribute__((vector_size(64)));
enum { RELU, JUMPRELU, TOPK, BATCHTOPK };

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
inline V keep(M m, V v) { return m ? v : V{}; }
inline V pre(const V* x, const float* w, float b) {
  V p = all(b);
#pragma GCC unroll 32
  for (int i = 0; i < D; i++) p += w[i] * x[i];
  return p;
}

struct Model {  // views into one flat vector: rows of the encoder, rows of the decoder, biases, thresholds
  float *enc, *dec, *b_enc, *log_threshold, *b_dec;
  Model(float* p, int n)
      : enc(p), dec(p + n * D), b_enc(p + 2 * n * D), log_threshold(b_enc + n), b_dec(b_enc + 2 * n) {}
};

struct Work {
  int n, batch, blocks, padded;
  std::vector<float> x, err, cut, theta, grad, pool;
  std::vector<uint8_t> hit;
  Work(int n, int batch)
      : n(n), batch(batch), blocks((batch + BLOCK - 1) / BLOCK), padded(blocks * BLOCK), x(padded * D),
        err(padded * D), cut(padded), theta(n), grad((2 * D + 2) * n + D), hit((size_t)n * blocks) {}
  // Tokens are stored by block: [block][TV][D][VL]
  float* at(std::vector<float>& a, int block, int t) { return a.data() + (size_t)(block * TV + t) * D * VL; }
};

void transpose(Work& w, const float* x) {
  std::fill(w.x.begin(), w.x.end(), 0.f);
  for (int t = 0; t < w.batch; t++)
    for (int i = 0; i < D; i++) w.x[(size_t)(t / VL) * D * VL + i * VL + t % VL] = x[(size_t)t * D + i];
}

inline void load_tokens(Work& w, std::vector<float>& a, int block, int t, V* out) {
  const float* p = w.at(a, block, t);
#pragma GCC unroll 32
  for (int i = 0; i < D; i++) out[i] = load(p + i * VL);
}

// A token's cut is the value that a pre-activation must exceed; padding can never exceed its own.
void cut_topk(Work& w, const Model& m, int k) {
  std::vector<V> top(k);
  V x[D];
  for (int block = 0; block < w.blocks; block++)
    for (int t = 0; t < TV; t++) {
      load_tokens(w, w.x, block, t, x);
      std::fill(top.begin(), top.end(), V{});
      for (int j = 0; j < w.n; j++) {
        V p = pre(x, m.enc + j * D, m.b_enc[j]);
        if (!any(p > top[k - 1])) continue;
        for (int i = 0; i < k; i++) {
          M more = p > top[i];
          V high = more ? p : top[i];
          p = more ? top[i] : p;
          top[i] = high;
        }
      }
      for (int l = 0; l < VL; l++)
        w.cut[(block * TV + t) * VL + l] = std::max(0.f, std::nextafter(top[k - 1][l], -1.f));
    }
}

float cut_batchtopk(Work& w, const Model& m, int k) {
  V x[D];
  w.pool.clear();
  for (int block = 0; block < w.blocks; block++)
    for (int t = 0; t < TV; t++) {
      load_tokens(w, w.x, block, t, x);
      int real = std::min(VL, w.batch - (block * TV + t) * VL);
      for (int j = 0; j < w.n; j++) {
        V p = pre(x, m.enc + j * D, m.b_enc[j]);
        if (!any(p > V{})) continue;
        for (int l = 0; l < real; l++)
          if (p[l] > 0) w.pool.push_back(p[l]);
      }
    }
  size_t kept = (size_t)k * w.batch;
  if (w.pool.size() <= kept) return 0.f;
  std::nth_element(w.pool.begin(), w.pool.begin() + (kept - 1), w.pool.end(), std::greater<float>());
  return std::max(0.f, std::nextafter(w.pool[kept - 1], -1.f));
}

float set_cuts(Work& w, const Model& m, const Rule& r) {
  float shared = 0.f;
  if (r.architecture == BATCHTOPK) shared = cut_batchtopk(w, m, r.k);
  std::fill(w.cut.begin(), w.cut.end(), shared);
  if (r.architecture == TOPK && r.k < w.n) cut_topk(w, m, r.k);
  for (int t = w.batch; t < w.padded; t++) w.cut[t] = std::numeric_limits<float>::max();
  for (int j = 0; j < w.n; j++)
    w.theta[j] = r.architecture == JUMPRELU ? std::exp(m.log_threshold[j]) : 0.f;
  return shared;
}

// One block of tokens through every latent; leaves the error in w.err and where each latent matters in w.hit.
void forward_block(Work& w, const Model& m, const Rule& r, int block, double* stats, double* fired) {
  V x[TV][D], out[TV][D], cut[TV], code = {}, count = {}, square = {};
  const float near = r.architecture == JUMPRELU ? 0.5f * r.bandwidth : 0.f;
  for (int t = 0; t < TV; t++) {
    load_tokens(w, w.x, block, t, x[t]);
    cut[t] = load(&w.cut[(block * TV + t) * VL]);
    for (int i = 0; i < D; i++) out[t][i] = all(m.b_dec[i]);
  }
  for (int j = 0; j < w.n; j++) {
    const float *we = m.enc + j * D, *wd = m.dec + j * D;
    V p[TV];
    M on[TV], some = {};
#pragma GCC unroll 4
    for (int t = 0; t < TV; t++) {
      p[t] = pre(x[t], we, m.b_enc[j]);
      on[t] = (p[t] > cut[t]) & (p[t] > all(w.theta[j]));
      some |= on[t];
      if (near > 0) some |= (p[t] > all(w.theta[j] - near)) & (cut[t] < all(1e30f));
    }
    const bool hit = any(some);
    w.hit[(size_t)j * w.blocks + block] = hit;
    if (!hit) continue;
    V here = {};
#pragma GCC unroll 4
    for (int t = 0; t < TV; t++) {
      V f = keep(on[t], p[t]);
      code += f;
      here += keep(on[t], all(1.f));
#pragma GCC unroll 32
      for (int i = 0; i < D; i++) out[t][i] += wd[i] * f;
    }
    count += here;
    fired[j] += sum(here);
  }
  for (int t = 0; t < TV; t++) {
    M real = load(&w.cut[(block * TV + t) * VL]) < all(1e30f);
    for (int i = 0; i < D; i++) {
      V e = keep(real, out[t][i] - load(w.at(w.x, block, t) + i * VL));
      square += e * e;
      store(w.at(w.err, block, t) + i * VL, e);
    }
  }
  stats[0] += sum(square);
  stats[1] += sum(code);
  stats[2] += sum(count);
}

// The gradient of one latent: five numbers of products for each of D, all in registers until the batch ends.
void backward_latent(Work& w, const Model& m, const Rule& r, int j, Model& g) {
  const float *we = m.enc + j * D, *wd = m.dec + j * D, scale = 2.f / w.batch, l1 = r.l1 / w.batch;
  const float theta = w.theta[j], half = 0.5f * r.bandwidth, jump = theta / r.bandwidth;
  const float l0 = r.l0 / (w.batch * r.bandwidth);
  V ge[D] = {}, gd[D] = {}, gb = {}, gt = {};
  const uint8_t* hit = &w.hit[(size_t)j * w.blocks];
  for (int block = 0; block < w.blocks; block++) {
    if (!hit[block]) continue;
#pragma GCC unroll 4
    for (int t = 0; t < TV; t++) {
      const float *px = w.at(w.x, block, t), *pe = w.at(w.err, block, t);
      V cut = load(&w.cut[(block * TV + t) * VL]), x[D], e[D], back = {};
#pragma GCC unroll 32
      for (int i = 0; i < D; i++) x[i] = load(px + i * VL);
      V p = pre(x, we, m.b_enc[j]);
#pragma GCC unroll 32
      for (int i = 0; i < D; i++) { e[i] = load(pe + i * VL); back += wd[i] * e[i]; }
      M on = (p > cut) & (p > all(theta));
      back = scale * back + all(l1);
      V f = keep(on, p), push = keep(on, back);
      gb += push;
      if (r.architecture == JUMPRELU) {
        V z = p - all(theta);
        M near = (z < all(half)) & (z > all(-half)) & (cut < all(1e30f));
        gt -= keep(near, jump * back + all(l0));
      }
#pragma GCC unroll 32
      for (int i = 0; i < D; i++) { ge[i] += push * x[i]; gd[i] += f * e[i]; }
    }
  }
  for (int i = 0; i < D; i++) {
    g.enc[j * D + i] = sum(ge[i]);
    g.dec[j * D + i] = scale * sum(gd[i]);
  }
  g.b_enc[j] = sum(gb);
  g.log_threshold[j] = theta * sum(gt);
}

void gradients(Work& w, const Model& m, const Rule& r, const float* x, float* curve, double* fired) {
  transpose(w, x);
  float shared = set_cuts(w, m, r);
  double stats[3] = {0, 0, 0};
  for (int block = 0; block < w.blocks; block++) forward_block(w, m, r, block, stats, fired);
  Model g(w.grad.data(), w.n);
  for (int j = 0; j < w.n; j++) backward_latent(w, m, r, j, g);
  for (int i = 0; i < D; i++) {
    V s = {};
    for (int b = 0; b < w.blocks * TV; b++) s += load(w.err.data() + ((size_t)b * D + i) * VL);
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
