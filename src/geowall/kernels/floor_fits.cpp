// Many small nonlinear least-squares problems at once: a power law above a floor (see floor_fits.py, which holds
// the slow twin and the meaning of every argument).
//
// Lanes are problems: eight share a design and differ in data, bounds and starts. The Jacobian of log S, with
// S = R + B, is (R/S) (1, u, x, ux) and (B/S) (1, u), so that a pass over the cells needs three numbers a lane,
// times monomials of the design that all lanes share, for the whole of J'J.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace {
constexpr int VL = 8, P = 6, H = P * (P + 1) / 2, POWER = 4;  // the first four parameters are those of R
typedef double V __attribute__((vector_size(64)));
typedef int64_t I __attribute__((vector_size(64)));

inline V all(double s) { return s - V{}; }
inline V load(const double* p) { V v; std::memcpy(&v, p, 64); return v; }
inline V pick(I m, V a, V b) { return m ? a : b; }
inline V positive(V v) { return v < 0 ? -v : v; }
inline bool any(I m) {
  int64_t o = 0;
  for (int l = 0; l < VL; l++) o |= m[l];
  return o != 0;
}

// e^x to the last bits: a power of two times a polynomial on half a binary order around zero.
inline V exponential(V x) {
  const V magic = all(6755399441055744.0);  // 1.5 * 2^52: adding it rounds to whole numbers
  x = pick(x < -700.0, all(-700.0), pick(x > 700.0, all(700.0), x));
  const V t = x * 1.4426950408889634 + magic;
  const V whole = t - magic, r = (x - whole * 6.93147180369123816490e-01) - whole * 1.90821492927058770002e-10;
  const V r2 = r * r, r4 = r2 * r2;  // by halves, which wait for each other less than Horner's steps
  const V low = (1.0 + r) + r2 * (0.5 + r * (1.0 / 6));
  const V middle = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
  const V high = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
  const V p = low + r4 * (middle + r4 * (high + r4 * (1.0 / 479001600)));
  const I power = ((I)t - (I)magic + 1023) << 52;
  return p * (V)power;
}

// The logarithm of a positive normal number, 2 artanh((m - 1) / (m + 1)) on half a binary order around one, and a
// share of it: one division serves both.
inline void logarithm_and_share(V v, V part, V& log, V& share) {
  const I bits = (I)v;
  V m = (V)((bits & 0x000fffffffffffffLL) | 0x3ff0000000000000LL);
  const I large = m > 1.4142135623730951;
  m = pick(large, m * 0.5, m);
  const I order = (bits >> 52) - 1023 - large;  // a true lane is -1
  const V above = m + 1.0, inverse = 1.0 / (v * above);
  share = part * above * inverse;
  const V e = __builtin_convertvector(order, V), s = (m - 1.0) * v * inverse, s2 = s * s;
  const V s4 = s2 * s2, s8 = s4 * s4;
  const V low = (1.0 + s2 * (1.0 / 3)) + s4 * (1.0 / 5 + s2 * (1.0 / 7));
  const V middle = (1.0 / 9 + s2 * (1.0 / 11)) + s4 * (1.0 / 13 + s2 * (1.0 / 15));
  const V high = (1.0 / 17 + s2 * (1.0 / 19)) + s4 * (1.0 / 21);
  log = e * 0.6931471805599453 + 2.0 * s * (low + s8 * (middle + s8 * high));
}

struct Problem {  // one design: R = exp(a + bk u + bn x + g u x), B = exp(z + h u)
  int cells;
  std::vector<double> monomials;  // of each cell: 1 u x ux u2 u2x x2 ux2 u2x2
  const double* x;
  const double* u;
  Problem(int n, const double* x_, const double* u_) : cells(n), monomials(9 * n), x(x_), u(u_) {
    for (int c = 0; c < n; c++) {
      const double a = u[c], b = x[c], row[9] = {1, a, b, a * b, a * a, a * a * b, b * b, a * b * b, a * a * b * b};
      std::copy(row, row + 9, &monomials[9 * c]);
    }
  }
};

struct Sums {  // residual sum of squares, J'r, and by rows the lower triangles of J'J and of the exact Hessian
  V rss, g[P], h[H], newton[H];
};

// Where the product of parameters i and j of R lies among the monomials, and of R's i with B's j.
constexpr int BOTH[4][4] = {{0, 1, 2, 3}, {1, 4, 3, 5}, {2, 3, 6, 7}, {3, 5, 7, 8}};

constexpr int B_AT[3] = {0, 1, 4};

struct Scratch {  // of each cell: weighted share of R in S, the share, and the weighted residual
  std::vector<V> weight, p, wr;
  explicit Scratch(int n) : weight(n), p(n), wr(n) {}
};

// The transcendental functions, a cell at a time and nothing carried from one to the next.
V residuals(const Problem& problem, const V* theta, const double* y, const double* w, Scratch& out) {
  V rss = {}, floor = {};
  for (int c = 0; c < problem.cells; c++) {
    const double u = problem.u[c];
    if (!c || u != problem.u[c - 1]) floor = exponential(theta[4] + theta[5] * u);
    const V power = exponential(theta[0] + theta[1] * u + (theta[2] + theta[3] * u) * problem.x[c]);
    V log;
    logarithm_and_share(power + floor, power, log, out.p[c]);
    const V r = load(y + VL * c) - log, weight = load(w + VL * c);
    out.weight[c] = weight;
    out.wr[c] = weight * r;
    rss += out.wr[c] * r;
  }
  return rss;
}

void evaluate(const Problem& problem, const V* theta, const double* y, const double* w, Scratch& scratch, Sums& out) {
  V rr[9] = {}, rb[6] = {}, bb[3] = {}, gr[4] = {}, gb[2] = {}, bent[9] = {};
  out.rss = residuals(problem, theta, y, w, scratch);
  for (int c = 0; c < problem.cells; c++) {
    const double* m = &problem.monomials[9 * c];
    const V p = scratch.p[c], wr = scratch.wr[c], pr = wr * p, bend = pr * (1.0 - p), pp = scratch.weight[c] * p * p;
    for (int i = 0; i < 9; i++) rr[i] += pp * m[i];
    for (int i = 0; i < 9; i++) bent[i] += bend * m[i];  // second derivatives of log S: pq (1, u, x, ux, -1, -u)^2
    for (int i = 0; i < 4; i++) gr[i] += pr * m[i];
  }
  for (int c = 0; c < problem.cells; c++) {
    const double* m = &problem.monomials[9 * c];
    const V p = scratch.p[c], q = 1.0 - p, wq = scratch.weight[c] * q, pq = wq * p, qq = wq * q, qr = scratch.wr[c] * q;
    for (int i = 0; i < 6; i++) rb[i] += pq * m[i];
    for (int i = 0; i < 3; i++) bb[i] += qq * m[B_AT[i]];
    for (int i = 0; i < 2; i++) gb[i] += qr * m[i];
  }
  for (int i = 0; i < 4; i++) out.g[i] = gr[i];
  for (int i = 0; i < 2; i++) out.g[4 + i] = gb[i];
  V *h = out.h, *newton = out.newton;
  const auto put = [&](V square, V bend) {
    *h++ = square;
    *newton++ = square - bend;
  };
  for (int i = 0; i < POWER; i++)
    for (int j = 0; j <= i; j++) put(rr[BOTH[i][j]], bent[BOTH[i][j]]);
  for (int i = 0; i < 2; i++) {
    for (int j = 0; j < POWER; j++) put(rb[BOTH[j][i]], -bent[BOTH[j][i]]);
    for (int j = 0; j <= i; j++) put(bb[i + j], bent[B_AT[i + j]]);
  }
}

// Solve (h + lambda diag J'J) step = J'r over the free parameters by an LDL' factorisation; true where h with its
// damping is positive definite.
I solve(const Sums& s, const V* h, const I* held, V lambda, V* step) {
  V l[P][P], d[P];
  I sound = ~I{};
  for (int i = 0; i < P; i++) {
    for (int j = 0; j <= i; j++) {
      const int at = i * (i + 1) / 2 + j;
      V v = pick(held[i] | held[j], V{}, h[at]);
      if (i == j) v = pick(held[i], all(1.0), v + lambda * s.h[at] + 1e-300);
      for (int k = 0; k < j; k++) v -= l[i][k] * l[j][k] * d[k];
      if (j < i) {
        l[i][j] = v / d[j];
      } else {
        sound &= v > 1e-12 * s.h[at] | held[i];
        d[i] = pick(v < 1e-300, all(1e-300), v);
      }
    }
  }
  for (int i = 0; i < P; i++) {
    step[i] = pick(held[i], V{}, s.g[i]);
    for (int k = 0; k < i; k++) step[i] -= l[i][k] * step[k];
  }
  for (int i = P - 1; i >= 0; i--) {
    step[i] /= d[i];
    for (int k = i + 1; k < P; k++) step[i] -= l[k][i] * step[k];
  }
  return sound;
}

// What is to be fitted: every start of every problem is a job of its own, and the best of a problem's is kept.
struct Jobs {
  int fits, starts, cells;
  const double *y, *w, *start, *low, *high;
  double *theta, *rss;
  int64_t total() const { return (int64_t)fits * starts; }
};

// Levenberg-Marquardt between bounds, eight jobs side by side; a lane that is done takes the next job at once. A
// parameter at a bound is held while the gradient pushes it outwards.
struct Lanes {
  const Jobs& jobs;
  std::vector<double> data, weight;
  V theta[P], trial[P], low[P], high[P], lambda = all(1e-3);
  Sums here, there;
  I busy = I{}, fresh = I{};
  int64_t job[VL], passes[VL], next = 0;

  explicit Lanes(const Jobs& j) : jobs(j), data(VL * j.cells), weight(VL * j.cells), here(), there() {
    for (int i = 0; i < P; i++) theta[i] = trial[i] = low[i] = high[i] = V{};
    for (int l = 0; l < VL; l++) load_next(l);
  }

  V clip(int i, V v) const { return pick(v < low[i], low[i], pick(v > high[i], high[i], v)); }

  void load_next(int l) {
    busy[l] = fresh[l] = next < jobs.total() ? -1 : 0;
    if (!busy[l]) return;
    job[l] = next++;
    passes[l] = 0;
    lambda[l] = 1e-3;
    const size_t fit = job[l] / jobs.starts;
    for (int c = 0; c < jobs.cells; c++) {
      data[VL * c + l] = jobs.y[fit * jobs.cells + c];
      weight[VL * c + l] = jobs.w[fit * jobs.cells + c];
    }
    for (int i = 0; i < P; i++) {
      low[i][l] = jobs.low[fit * P + i];
      high[i][l] = jobs.high[fit * P + i];
      const double begin = jobs.start[job[l] * P + i];
      theta[i][l] = trial[i][l] = std::min(std::max(begin, low[i][l]), high[i][l]);
    }
  }

  void finish(I done) {
    for (int l = 0; l < VL; l++) {
      if (!done[l]) continue;
      const size_t fit = job[l] / jobs.starts;
      if (here.rss[l] < jobs.rss[fit]) {
        jobs.rss[fit] = here.rss[l];
        for (int i = 0; i < P; i++) jobs.theta[fit * P + i] = theta[i][l];
      }
      load_next(l);
    }
  }

  // Propose a step in every lane that has been evaluated; return which lanes move at all.
  I propose(double tol) {
    I held[P], moved = I{};
    V step[P], other[P], promised = {};
    for (int i = 0; i < P; i++)
      held[i] = ((theta[i] <= low[i]) & (here.g[i] <= 0.0)) | ((theta[i] >= high[i]) & (here.g[i] >= 0.0));
    const I exact = solve(here, here.newton, held, lambda, step);
    if (any(busy & ~fresh & ~exact)) {
      solve(here, here.h, held, lambda, other);
      for (int i = 0; i < P; i++) step[i] = pick(exact, step[i], other[i]);
    }
    for (int i = 0; i < P; i++) {
      trial[i] = pick(fresh, theta[i], clip(i, theta[i] + step[i]));
      moved |= positive(trial[i] - theta[i]) > tol * (1.0 + positive(theta[i]));
      promised += pick(held[i], V{}, step[i] * here.g[i]);
    }
    // a last step that can gain nothing worth a pass over the cells is taken unseen
    const I last = busy & ~fresh & exact & (promised <= tol * tol * here.rss);
    for (int i = 0; i < P; i++) theta[i] = pick(last, trial[i], theta[i]);
    if (any(last)) finish(last);
    return moved | fresh;
  }

  // Keep what is better; return which lanes have come to rest.
  I accept(I moved, double tol, int iterations) {
    const I better = busy & (fresh | (there.rss <= here.rss));
    const I settled = better & ~fresh & (here.rss - there.rss <= tol * tol * here.rss + 1e-300) & (lambda < 1e-2);
    for (int i = 0; i < P; i++) {
      theta[i] = pick(better, trial[i], theta[i]);
      here.g[i] = pick(better, there.g[i], here.g[i]);
    }
    for (int i = 0; i < H; i++) {
      here.h[i] = pick(better, there.h[i], here.h[i]);
      here.newton[i] = pick(better, there.newton[i], here.newton[i]);
    }
    here.rss = pick(better, there.rss, here.rss);
    lambda = pick(fresh, lambda, pick(better, lambda * 0.1, lambda * 10.0));
    I tired = I{};
    for (int l = 0; l < VL; l++) tired[l] = ++passes[l] > iterations ? -1 : 0;
    const I done = busy & ~(fresh & ~tired) & (~moved | settled | (lambda > 1e14) | tired);
    fresh = I{};
    return done;
  }
};
}  // namespace

extern "C" void floor_fits(int fits, int starts, int cells, const double* x, const double* u, const double* y,
                           const double* w, const double* start, const double* low, const double* high,
                           int iterations, double tol, double* theta, double* rss) {
  const Problem problem(cells, x, u);
  const Jobs jobs{fits, starts, cells, y, w, start, low, high, theta, rss};
  std::fill(rss, rss + fits, std::numeric_limits<double>::infinity());  // starts end in any order
  Scratch scratch(cells);
  Lanes lanes(jobs);
  while (any(lanes.busy)) {
    const I moved = lanes.propose(tol);
    evaluate(problem, lanes.trial, lanes.data.data(), lanes.weight.data(), scratch, lanes.there);
    lanes.finish(lanes.accept(moved, tol, iterations));
  }
}
