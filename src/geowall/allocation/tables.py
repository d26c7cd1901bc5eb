"""The tidy tables of chapter 01: one public function a table, one unit a column.

>>> table = discovery_table([0.5], [0.05], [1e8])
>>> int(table.n_discovered[0]), round(float(table.efficiency[0]), 4)
(2874009, 0.0287)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from geowall.allocation.asymptotics import asymptote, continuous_asymptote, regime
from geowall.allocation.endless import allocate_zipf
from geowall.allocation.exact import allocate
from geowall.allocation.losses import PowerLoss
from geowall.allocation.manifold import discovery
from geowall.allocation.zetas import zipf


def sizes(low: float, high: float, per_decade: int) -> list[int]:
    """Dictionary sizes from ``low`` to ``high``, evenly spaced in the logarithm, as whole numbers.

    >>> sizes(10, 1000, 2)
    [10, 32, 100, 316, 1000]
    """
    count = round(np.log10(high / low) * per_decade) + 1
    return np.unique(np.rint(np.geomspace(low, high, count)).astype(np.int64)).tolist()


def discovery_table(
    alphas: Sequence[float],
    betas: Sequence[float],
    d_saes: Sequence[float],
    manifold_ranks: Sequence[int] = (1,),
    convention: str = "cutoff",
    l_zero: float | None = None,
) -> pd.DataFrame:
    """One manifold among discrete features: a row for every combination of the arguments.

    Columns: alpha, beta, d_sae, manifold_rank, n_on_manifold, n_discovered, efficiency, loss
    (:func:`geowall.allocation.discovery`).
    """
    rows = [
        (a, b, int(n), r, *discovery(n, a, b, r, convention=convention, l_zero=_used(convention, l_zero)))
        for a in alphas
        for b in betas
        for r in manifold_ranks
        for n in d_saes
    ]
    names = ["alpha", "beta", "d_sae", "manifold_rank", "n_on_manifold", "n_discovered", "efficiency", "loss"]
    return pd.DataFrame(rows, columns=names)


def scaling_table(
    alpha: float,
    betas: Sequence[float],
    d_saes: Sequence[float],
    convention: str = "cutoff",
    l_zero: float | None = None,
) -> pd.DataFrame:
    """Every feature a manifold: the exact optimum beside its limit, one row a (beta, d_sae).

    Columns: alpha, beta, regime, d_sae, n_discovered, n_first (latents on the most frequent feature),
    efficiency, first_share, loss, and n_discovered_theory, loss_theory (leading term).
    """
    l_zero = _used(convention, l_zero)
    rows = []
    for b in betas:
        law = asymptote(alpha, b, convention, l_zero)
        for n in d_saes:
            share = allocate_zipf(n, alpha, b, convention=convention, l_zero=l_zero)
            limit = float(law.discovered(n)), float(law.loss(n))
            first = share.n_first
            counts = share.n_discovered, first, share.efficiency, first / share.d_sae, share.loss()
            rows.append((alpha, b, law.regime, share.d_sae, *counts, *limit))
    names = [
        "alpha",
        "beta",
        "regime",
        "d_sae",
        "n_discovered",
        "n_first",
        "efficiency",
        "first_share",
        "loss",
    ]
    return pd.DataFrame(rows, columns=[*names, "n_discovered_theory", "loss_theory"])


def regimes_table(
    scaling: pd.DataFrame, fit_from: float, convention: str = "cutoff", l_zero: float | None = None
) -> pd.DataFrame:
    """Exponent and prefactor of D and L at the large end of ``scaling``, beside their limits.

    Fitted over ``d_sae >= fit_from`` to ``prefactor N^exponent`` (in the critical regime times the power of
    ln N that the theory names). There is no noise, so the interval is what finite size does: the smallest and
    the largest value over single decades of the range. The prefactor is read at the theory's exponent.

    Columns: alpha, beta, regime, quantity (``n_discovered`` or ``loss``), fit_from, fit_to,
    exponent_theory, exponent_fit, exponent_low, exponent_high, prefactor_theory, prefactor_continuous,
    prefactor_fit, prefactor_low, prefactor_high.
    """
    rows = []
    for (a, b), group in scaling[scaling["d_sae"] >= fit_from].groupby(["alpha", "beta"], sort=False):
        law, smooth = asymptote(a, b, convention, _used(convention, l_zero)), continuous_asymptote(a, b)
        for quantity, power, other in (
            ("n_discovered", law.discovered, smooth.discovered),
            ("loss", law.loss, smooth.loss),
        ):
            n = group["d_sae"].to_numpy(float)
            y = group[quantity].to_numpy(float) / np.log(n) ** power.log_exponent
            slopes = _decade_slopes(n, y)
            level = y / n**power.exponent
            window = a, b, law.regime, quantity, int(n.min()), int(n.max())
            exponent = power.exponent, _slope(n, y), min(slopes), max(slopes)
            middle = float(np.exp(np.log(level).mean()))
            rows.append(
                (*window, *exponent, power.prefactor, other.prefactor, middle, level.min(), level.max())
            )
    names = ["alpha", "beta", "regime", "quantity", "fit_from", "fit_to"]
    for what in ("exponent", "prefactor"):
        names += [f"{what}_theory", *(["prefactor_continuous"] if what == "prefactor" else [])]
        names += [f"{what}_{end}" for end in ("fit", "low", "high")]
    return pd.DataFrame(rows, columns=names)


def phase_table(
    alphas: Sequence[float],
    betas: Sequence[float],
    d_sae: float,
    convention: str = "cutoff",
    l_zero: float | None = None,
) -> pd.DataFrame:
    """Every feature a manifold, one dictionary size: efficiency and first share over a grid of (alpha, beta).

    Columns: alpha, beta, regime, d_sae, n_discovered, efficiency, first_share.
    """
    rows = []
    for a in alphas:
        for b in betas:
            share = allocate_zipf(d_sae, a, b, convention=convention, l_zero=_used(convention, l_zero))
            found = share.n_discovered, share.efficiency, share.n_first / share.d_sae
            rows.append((a, b, regime(a, b), share.d_sae, *found))
    return pd.DataFrame(
        rows, columns=["alpha", "beta", "regime", "d_sae", "n_discovered", "efficiency", "first_share"]
    )


def worst_beta_table(discovered: pd.DataFrame) -> pd.DataFrame:
    """The beta that leaves most undiscovered at each dictionary size, beside the rule 1 / ln d_sae.

    Input: :func:`discovery_table` on a fine grid of beta. The minimum is refined by a parabola through the
    lowest point and its neighbours in (log beta, log efficiency).

    Columns: alpha, d_sae, beta_worst, beta_rule, efficiency.
    """
    rows = []
    for (a, n), group in discovered.groupby(["alpha", "d_sae"], sort=False):
        group = group.sort_values("beta")
        x, y = np.log(group["beta"].to_numpy()), np.log(group["efficiency"].to_numpy())
        k = int(np.clip(np.argmin(y), 1, len(y) - 2))
        fit = np.polynomial.Polynomial.fit(x[k - 1 : k + 2], y[k - 1 : k + 2], 2)
        bottom = float(fit.deriv().roots()[0].real)
        rows.append((a, n, np.exp(bottom), 1 / np.log(n), float(np.exp(fit(bottom)))))
    return pd.DataFrame(rows, columns=["alpha", "d_sae", "beta_worst", "beta_rule", "efficiency"])


def window_table(
    alpha: float,
    betas: Sequence[float],
    d_sae_low: float,
    decades: Sequence[int],
    convention: str = "cutoff",
    l_zero: float | None = None,
    points: int = 7,
) -> pd.DataFrame:
    """The exponent of the loss that a sweep of widths would read, against the one it tends to.

    A sweep has ``points`` widths from ``d_sae_low`` over that many ``decades``; a straight line through
    (log d_sae, log loss) gives exponent_fit with the usual 95 % interval (Student's t), exponent_low to
    exponent_high. Columns: alpha, beta, decades, d_sae_low, d_sae_high, exponent_theory, exponent_fit,
    exponent_low, exponent_high, bias (fit minus theory; exponents of the fall, positive).
    """
    rows, given = [], {"convention": convention, "l_zero": _used(convention, l_zero)}
    for b in betas:
        theory = -asymptote(alpha, b, **given).loss.exponent
        for span in decades:
            n = np.rint(np.geomspace(d_sae_low, d_sae_low * 10.0**span, points)).astype(np.int64)
            loss = [allocate_zipf(int(size), alpha, b, **given).loss() for size in n]
            fit = stats.linregress(np.log(n), np.log(loss))
            half = fit.stderr * stats.t.ppf(0.975, points - 2)
            read = -fit.slope
            rows.append((alpha, b, span, n[0], n[-1], theory, read, read - half, read + half, read - theory))
    names = ["alpha", "beta", "decades", "d_sae_low", "d_sae_high", "exponent_theory"]
    return pd.DataFrame(rows, columns=[*names, "exponent_fit", "exponent_low", "exponent_high", "bias"])


def saturation_table(
    alpha: float,
    beta: float,
    d_saes: Sequence[float],
    n_sats: Sequence[int | None],
    convention: str = "cutoff",
    l_zero: float | None = None,
) -> pd.DataFrame:
    """One manifold whose loss stops falling after ``n_sat`` latents (None: never), among discrete features.

    Columns: alpha, beta, n_sat (missing: never saturates), d_sae, n_on_manifold, n_discovered, efficiency.
    """
    rows, given = [], {"convention": convention, "l_zero": _used(convention, l_zero)}
    for n_sat in n_sats:
        for n in d_saes:
            found = discovery(n, alpha, beta, n_sat=n_sat, **given)
            rows.append(
                (alpha, beta, n_sat, int(n), found.n_on_manifold, found.n_discovered, found.efficiency)
            )
    table = pd.DataFrame(
        rows, columns=["alpha", "beta", "n_sat", "d_sae", "n_on_manifold", "n_discovered", "efficiency"]
    )
    return table.astype({"n_sat": "Int64"})


def heterogeneity_table(
    alpha: float,
    beta: float,
    d_sae: float,
    manifold_shares: Sequence[float],
    spreads: Sequence[float],
    repeats: int,
    seed: int,
    convention: str = "cutoff",
    l_zero: float | None = None,
) -> pd.DataFrame:
    """A random share of the features are manifolds, each with a beta of its own.

    Betas are drawn evenly in the logarithm from [beta / spread, beta * spread]; the other features are
    discrete. The same random numbers serve every share and spread. Columns: alpha, beta, manifold_share,
    spread, repeat, d_sae, n_discovered, efficiency, latents_on_manifolds (share of all latents).
    """
    size = int(d_sae)
    p = zipf(size, alpha)  # no allocation discovers more features than it has latents
    rows = []
    for repeat in range(repeats):
        draw = np.random.default_rng([seed, repeat]).random((2, size))
        for spread in spreads:
            betas = beta * spread ** (2 * draw[0] - 1)
            for share in manifold_shares:
                manifold = draw[1] < share
                loss = PowerLoss(np.where(manifold, betas, np.inf), convention, _used(convention, l_zero))
                n = allocate(p, loss, size)
                found = int((n > 0).sum())
                setting = alpha, beta, share, spread, repeat, size
                rows.append((*setting, found, found / size, n[manifold].sum() / size))
    names = ["alpha", "beta", "manifold_share", "spread", "repeat", "d_sae", "n_discovered", "efficiency"]
    return pd.DataFrame(rows, columns=[*names, "latents_on_manifolds"])


def _used(convention: str, l_zero: float | None) -> float | None:
    """``l_zero`` where the convention takes one: a notebook has one parameter for all conventions."""
    return l_zero if convention == "explicit" else None


def _slope(n: np.ndarray, y: np.ndarray) -> float:
    return float(np.polyfit(np.log(n), np.log(y), 1)[0])


def _decade_slopes(n: np.ndarray, y: np.ndarray) -> list[float]:
    starts = [k for k in range(len(n)) if n[k] * 9.99 <= n[-1]]
    inside = [(n >= n[k] * 0.999) & (n <= n[k] * 10.01) for k in starts]
    return [_slope(n[keep], y[keep]) for keep in inside] or [_slope(n, y)]
