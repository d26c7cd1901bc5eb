"""The tables of chapter 05, by functions whose arguments can be written down in a notebook.

Every one takes the same two dictionaries: ``tokens`` (which model, which text, how many tokens) and ``grid``
(which checkpoints). What they need is made once and kept: activations in ``runs/activations``, checkpoints
and the durable rows of the census in ``runs/census``; so a run that was killed goes on where it was, and the
tables after the first cost a look at the disk.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student

from geowall.census import alone, manifolds, ranks, rows
from geowall.census import discovery as across
from geowall.census.cluster import Progress, measure
from geowall.census.sample import Sample
from geowall.census.work import Settings, describe
from geowall.kernels.evaluate import Tokens, evaluate
from geowall.language import cache, corpus, hub, labels, saes
from geowall.language import tokens as language_tokens
from geowall.language.sites import Site
from geowall.paths import ROOT, GeowallError
from geowall.sae import inventory
from geowall.sae.gemma_scope import Checkpoint, open_checked
from geowall.sae.model import Sae
from geowall.sae.schedule import derive

Setting, Table = Mapping[str, object], pd.DataFrame
COORDINATES = ("column", "indentation", "bracket")
LABELS = ("token_class", *COORDINATES, "position")
OWN = ["model", "layer", "site"]


def folder() -> Path:
    """Where censuses lie: ``GEOWALL_CENSUS``, or ``runs/census`` of the book."""
    return Path(os.environ.get("GEOWALL_CENSUS") or ROOT / "runs" / "census")


def sample(tokens: Setting, part: str = "error") -> Sample:
    """Activations of the residual stream after every block on one part of a corpus, and their labels.

    ``tokens``: ``model``, ``corpus`` (:func:`geowall.language.corpus.load`), ``n_tokens``, ``seed``, and if
    need be ``context`` and ``kinds`` of sites.
    """
    return _sample(json.dumps(tokens, sort_keys=True), part)


@functools.lru_cache(maxsize=4)
def _sample(written: str, part: str) -> Sample:
    given = json.loads(written)
    text = corpus.load(given["corpus"]).split(part)
    context, model = int(given.get("context", 256)), given["model"]
    limit = math.ceil(given["n_tokens"] / (context - 1))
    packed = language_tokens.pack(text, hub.tokenizer(model), context, limit, given["seed"])
    sites = [Site(kind, layer) for kind in given.get("kinds", ["res"]) for layer in range(_blocks(model))]
    store = cache.activations_of(model, packed.ids, sites, documents=packed.document)
    beside = Path(f"{store.place}-labels.parquet")
    if not beside.exists():
        at = store.index[["sequence", "position"]]
        _write(beside, _known(at.merge(labels.table(packed, text), how="left")))
    return Sample(store.place, labels=str(beside))


def _known(table: pd.DataFrame) -> pd.DataFrame:
    """Labels as a census wants them: text for categories, NaN where a coordinate is not defined."""
    table = table[list(LABELS)].reset_index(drop=True)
    table["token_class"] = table["token_class"].astype(object).where(table["token_class"].notna(), "other")
    for name in COORDINATES:
        table[name] = table[name].astype(float).where(table[name] >= 0)
    return table


def _write(path: Path, table: pd.DataFrame) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    table.to_parquet(beside, index=False)
    beside.replace(path)


def chosen(tokens: Setting, grid: Setting) -> list[Checkpoint]:
    """The checkpoints of a setting: trained now (``source`` is ``grid``), or of the hub, or of a folder.

    ``grid`` holds ``source``, and for a grid ``widths``, ``penalties`` (JumpReLU's), ``steps``, ``sequences``
    and ``seed`` (:func:`geowall.language.saes.grid`). ``layers``, and for the hub or a folder ``widths``,
    choose among them where they are given. Files of ``hub`` are not kept once measured; those of ``hub+keep``
    are, and so are those of ``keep_layers``.
    """
    layers, source, model = grid.get("layers") or None, str(grid["source"]), str(tokens["model"])
    if source == "grid":
        return inventory.checkpoints(str(_trained(json.dumps([tokens, grid], sort_keys=True))), model, layers)
    found = inventory.checkpoints(source.removesuffix(inventory.KEEP), model, layers)
    widths, blocks = grid.get("widths") or None, _blocks(model)
    found = [c for c in found if (not widths or c.d_sae in widths) and c.layer < blocks]
    if not found:
        raise GeowallError(
            "no checkpoint was chosen", f"{source} has none of {widths}", "choose other widths"
        )
    return found


def _blocks(model: str) -> int:
    config = hub.config(model)
    return getattr(config, "text_config", config).num_hidden_layers


@functools.lru_cache(maxsize=4)
def _trained(written: str) -> Path:
    tokens, grid = json.loads(written)
    return saes.grid(
        tokens["model"],
        grid["widths"],
        {"jumprelu": grid["penalties"]},
        layers=grid.get("layers") or None,
        steps=grid["steps"],
        sequences=grid["sequences"],
        source=tokens["corpus"],
        seed=grid["seed"],
        threads=grid.get("threads", 1),
    )


def taken(tokens: Setting, grid: Setting, cluster: str = "") -> dict[str, pd.DataFrame]:
    """The census of a setting; what is durable is not measured again.

    ``cluster`` says who measures: empty, this process; a number, as many processes; or the address of a dask
    scheduler.
    """
    given = [json.dumps(part, sort_keys=True) for part in (tokens, grid)]
    return _taken(*given, cluster)


@functools.lru_cache(maxsize=2)
def _taken(tokens: str, grid: str, cluster: str) -> dict[str, pd.DataFrame]:
    setting = json.loads(tokens), json.loads(grid)
    kept = tuple(setting[1].pop("keep_layers", [])) if setting[1]["source"] == "hub" else True
    setting[1]["source"] = setting[1]["source"].removesuffix(inventory.KEEP)
    written = json.dumps(setting[1], sort_keys=True)  # kept or not, results and their folder are the same
    name = hashlib.sha256(f"{tokens} {written}".encode()).hexdigest()[:12]
    everything = chosen(*setting), sample(setting[0]), folder() / f"rows-{name}"
    workers, scheduler = (int(cluster), "") if cluster.isdigit() else (0, cluster)
    return measure(*everything, Settings(keep_files=kept), workers, scheduler)


def measure_folder(
    place: Path,
    tokens: Setting,
    workers: int = 0,
    scheduler: str = "",
    on_progress: Progress = lambda done, total: None,
) -> pd.DataFrame:
    """The table ``checkpoints`` of every checkpoint below a folder; durable as it goes.

    ``tokens`` is as for :func:`sample`; its kinds of sites are those of the checkpoints.
    """
    found = inventory.checkpoints(str(place), str(tokens["model"]))
    kinds = sorted({checkpoint.site for checkpoint in found})
    name = hashlib.sha256(f"{place.resolve()} {json.dumps(tokens, sort_keys=True)}".encode()).hexdigest()[:12]
    where = sample({**tokens, "kinds": kinds}), folder() / f"rows-{name}"
    table = measure(found, *where, None, workers, scheduler, on_progress=on_progress)["checkpoints"]
    return _distinct(table)


def checkpoints(tokens: Setting, grid: Setting, cluster: str = "") -> pd.DataFrame:
    """The table ``checkpoints``: a row a checkpoint, measured columns of :func:`geowall.census.rows.summary`.

    Checkpoints that are others under another name have ``same_as``; unreadable ones say so in ``status``.
    """
    return _distinct(taken(tokens, grid, cluster)["checkpoints"])


def _distinct(table: pd.DataFrame) -> pd.DataFrame:
    twins = inventory.duplicates(table) if "weights" in table else pd.DataFrame(columns=["name", "same_as"])
    table = table.drop(columns="seconds").merge(twins, how="left", on="name")
    return table.assign(same_as=table["same_as"].fillna(""))


def latents(tokens: Setting, grid: Setting, layers: Sequence[int]) -> pd.DataFrame:
    """The table ``latents`` of some layers: a row a latent of every checkpoint there."""
    table = taken(tokens, grid)["latents"]
    return table[table["layer"].isin(list(layers))].reset_index(drop=True)


def slopes(tokens: Setting, grid: Setting) -> pd.DataFrame:
    """Slopes of frequency against rank of every checkpoint: :func:`geowall.census.ranks.slopes`."""
    return ranks.slopes(taken(tokens, grid)["latents"])


def distributions(tokens: Setting, grid: Setting, layers: Sequence[int]) -> pd.DataFrame:
    """Quantiles of the per-token error of the checkpoints of some layers."""
    table = taken(tokens, grid)["quantiles"]
    return table[table["layer"].isin(list(layers))].reset_index(drop=True)


def by_label(tokens: Setting, grid: Setting) -> pd.DataFrame:
    """Error by what is known of a token, for every checkpoint: :func:`geowall.census.rows.by_label`."""
    return taken(tokens, grid)["labels"]


def neighbours(tokens: Setting, grid: Setting, layers: Sequence[int], seed: int) -> pd.DataFrame:
    """Nearest-neighbour cosines of decoders as shares of latents, a row a bin: all, live, and a null.

    Columns: OWN, d_sae, nominal_l0, kind (``all``, ``live``, ``null``), cosine (lower edge of the bin),
    share. The null is as many random directions with the covariance of the decoder's rows. Dictionaries too
    wide for their neighbours to be looked up (:class:`geowall.census.work.Settings`) are left out.
    """
    edges, parts = np.linspace(0.0, 1.0, 51), []
    table = latents(tokens, grid, layers)
    for checkpoint, sae in _opened(tokens, grid, layers):
        own = table[table["name"] == checkpoint.name]
        if own["neighbour_cosine"].isna().all():
            continue
        kinds = {
            "all": own["neighbour_cosine"],
            "live": own["neighbour_live"].dropna(),
            "null": rows.null_cosines(sae.W_dec, seed).numpy(),
        }
        for kind, cosines in kinds.items():
            share = np.histogram(np.clip(cosines, 0.0, 0.9999), edges)[0] / max(1, len(cosines))
            part = pd.DataFrame({"cosine": edges[:-1].round(2), "share": share})
            parts.append(_led(part.assign(kind=kind), checkpoint))
    return pd.concat(parts, ignore_index=True)


def _led(part: pd.DataFrame, checkpoint: Checkpoint) -> pd.DataFrame:
    own = describe(checkpoint)
    for place, name in enumerate((*OWN, "architecture", "d_sae", "nominal_l0")):
        part.insert(place, name, own[name])
    return part


def _opened(tokens: Setting, grid: Setting, layers: Sequence[int]) -> list[tuple[Checkpoint, Sae]]:
    """The readable checkpoints of some layers, opened."""
    table = taken(tokens, grid)["checkpoints"]
    sound = set(table.loc[table["status"] == "measured", "name"])
    found = [c for c in chosen(tokens, grid) if c.layer in set(layers) and c.name in sound]
    return [(c, open_checked(inventory.fetch(c))[0]) for c in found]


def discovery(
    tokens: Setting, grid: Setting, layers: Sequence[int], taus: Sequence[float], seed: int = 0
) -> pd.DataFrame:
    """D(N) of the dictionaries of a layer and a rank of sparsity, against the widest of them.

    Columns: OWN, rank_l0 (0: the sparsest of each width), d_sae, l0, n_live, tau, n_discovered, n_chance. The
    widest is the reference, and has no row.
    """
    measured, parts = taken(tokens, grid)["checkpoints"].set_index("name"), []
    for layer in layers:
        opened = _opened(tokens, grid, [layer])
        ranked = pd.DataFrame([(i, c.d_sae, measured["l0"][c.name]) for i, (c, _) in enumerate(opened)])
        ranked.columns = ["index", "d_sae", "l0"]
        ranked["rank_l0"] = ranked.groupby("d_sae")["l0"].rank(method="first").astype(int) - 1
        for rank, group in ranked.groupby("rank_l0"):
            group = group.sort_values("d_sae")
            if group["d_sae"].nunique() < 2 or group["d_sae"].max() != ranked["d_sae"].max():
                continue
            live = [_live(tokens, *opened[i]) for i in group["index"]]
            found = across.curve(live, taus, seed)
            found.insert(0, "d_sae", np.repeat(group["d_sae"].to_numpy()[:-1], len(taus)))
            found.insert(1, "l0", np.repeat(group["l0"].to_numpy()[:-1], len(taus)))
            found.insert(0, "rank_l0", rank)
            checkpoint = opened[group["index"].iloc[0]][0]
            for place, name in enumerate(OWN):
                found.insert(place, name, getattr(checkpoint, name))
            parts.append(found)
    if not parts:
        why = f"layers {list(layers)} have one width, or no sparsity in common with the widest"
        raise GeowallError("nothing was discovered", why, "give the ladder at least two widths")
    return pd.concat(parts, ignore_index=True)


def ladders(
    tokens: Setting, grid: Setting, layers: Sequence[int], taus: Sequence[float], repeats: int
) -> pd.DataFrame:
    """:func:`discovery` of several layers, and of ``repeats`` ladders at each, trained from other seeds.

    Columns: those of :func:`discovery`, and seed. What is not trained here has one ladder a layer.
    """
    first, parts = int(grid["seed"]), []
    for seed in range(first, first + (repeats if grid["source"] == "grid" else 1)):
        for layer in layers:
            own = {**grid, "seed": seed, "layers": [layer]}
            parts.append(discovery(tokens, own, [layer], taus, seed).assign(seed=seed))
    return pd.concat(parts, ignore_index=True)


def _live(tokens: Setting, checkpoint: Checkpoint, sae: Sae) -> torch.Tensor:
    fired = evaluate(sae, _tokens(json.dumps(tokens, sort_keys=True), checkpoint.layer)).fired
    return sae.W_dec[fired > 0]


@functools.lru_cache(maxsize=2)
def _tokens(tokens: str, layer: int) -> Tokens:
    return sample(json.loads(tokens)).tokens(layer, "res")


def manifold_alone(
    tokens: Setting,
    layers: Sequence[int],
    n_latents: Sequence[int],
    rules: Sequence[str],
    n_draws: int,
    steps: int,
) -> pd.DataFrame:
    """L_i(n) of manifolds by themselves: :func:`geowall.census.alone.losses` of some layers."""
    parts, given, seed = [], json.dumps(tokens, sort_keys=True), int(tokens["seed"])
    for layer in layers:
        seen = _tokens(given, layer).x, subspaces(tokens, layer), sample(tokens).documents
        table = alone.losses(*seen, n_latents, rules, n_draws, steps, derive(seed, "layer", layer))
        parts.append(table.assign(layer=layer))
    return pd.concat(parts, ignore_index=True)


def manifold_loss(tokens: Setting, grid: Setting, layers: Sequence[int], by_itself: Table) -> Table:
    """L_i(n) of manifolds whose coordinate is known, in the dictionary and isolated.

    ``by_itself`` is a table of :func:`manifold_alone`. Columns: OWN, manifold (the coordinate), setting (``in
    the dictionary``; or alone, ``curve``, ``tokens`` or ``gaussian``, see :mod:`geowall.census.manifolds`),
    architecture, d_sae, l0, n_latents, loss, low, high. In the dictionary the interval is a bootstrap over
    documents; alone, see :mod:`geowall.census.alone`.
    """
    parts = [_in_dictionary(tokens, grid, layer) for layer in layers]
    parts.append(alone.summary(by_itself).assign(d_sae=lambda t: t["n_latents"]))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(model=str(tokens["model"]), site="res")[
        [*OWN, "manifold", "setting", "architecture", "d_sae", "l0", "n_latents", "loss", "low", "high"]
    ]


def subspaces(tokens: Setting, layer: int) -> dict[str, manifolds.Manifold]:
    """The manifolds of one layer by coordinate; those that the text's labels have."""
    x, known = _tokens(json.dumps(tokens, sort_keys=True), layer).x, sample(tokens).known
    there = [name for name in COORDINATES if name in known and known[name].nunique() > 1]
    return {name: manifolds.subspace(x, known[name].to_numpy()) for name in there}


def _in_dictionary(tokens: Setting, grid: Setting, layer: int) -> pd.DataFrame:
    taken_here, found = _tokens(json.dumps(tokens, sort_keys=True), layer), []
    documents, measured = sample(tokens).documents, taken(tokens, grid)["checkpoints"].set_index("name")
    for name, manifold in subspaces(tokens, layer).items():
        for checkpoint, sae in _opened(tokens, grid, [layer]):
            row = {"layer": layer, "manifold": name, "setting": "in the dictionary", "d_sae": sae.d_sae}
            row |= {"architecture": sae.architecture, "l0": float(measured["l0"][checkpoint.name])}
            found.append(row | manifolds.within(sae, taken_here, manifold, documents))
    return pd.DataFrame(found)


def tuned_share(losses: pd.DataFrame) -> pd.DataFrame:
    """How a dictionary's latents on a manifold grow with it: exponent of n against N, and the shares.

    Columns: layer, manifold, exponent, share_narrow, share_wide (tuned latents over all, at either end).
    """
    parts = []
    inside = losses[(losses["setting"] == "in the dictionary") & (losses["n_latents"] > 0)]
    for own, group in inside.groupby(["layer", "manifold"], sort=False):
        mean = group.groupby("d_sae")["n_latents"].mean()
        share = mean / mean.index.to_numpy()
        row = dict(zip(("layer", "manifold"), own, strict=True)) | {
            "exponent": across.exponent(mean.index, mean)
        }
        parts.append(row | {"share_narrow": share.iloc[0], "share_wide": share.iloc[-1]})
    return pd.DataFrame(parts)


def growth(discovery: pd.DataFrame) -> pd.DataFrame:
    """Exponent of D against N of each of :func:`ladders`: columns layer, rank_l0, seed, tau, exponent."""
    each = discovery.groupby(["layer", "rank_l0", "seed", "tau"], sort=False)
    found = each.apply(lambda g: across.exponent(g["d_sae"], g["n_discovered"]), include_groups=False)
    return found.rename("exponent").reset_index()


def growth_overall(growth: pd.DataFrame) -> pd.DataFrame:
    """Mean exponent of the ladders of a table of :func:`growth`, with Student's 95 % interval over them.

    Columns: tau, ladders (how many have an exponent: it takes three widths), exponent, low, high.
    """
    parts = []
    for tau, own in growth.groupby("tau"):
        x = own["exponent"].dropna()
        n = len(x)
        half = student.ppf(0.975, n - 1) * x.std() / math.sqrt(n) if n > 1 else math.nan
        row = {"tau": tau, "ladders": n, "exponent": x.mean()}
        parts.append(row | {"low": x.mean() - half, "high": x.mean() + half})
    return pd.DataFrame(parts)


def rules(checkpoints: pd.DataFrame, layers: Sequence[int], published: pd.DataFrame) -> pd.DataFrame:
    """The widest, middle-sparse checkpoint of some layers beside the paper's, by five rules of averaging.

    Columns: source, where, and the columns of :data:`geowall.figures.census.RULES`.
    """
    own = checkpoints[checkpoints["layer"].isin(list(layers)) & (checkpoints["status"] == "measured")]
    own = own[own["d_sae"] == own["d_sae"].max()]
    place, count = (
        own.groupby("layer")["l0"].rank(method="first"),
        own.groupby("layer")["l0"].transform("size"),
    )
    own = own[place == (count + 1) // 2]
    own = own.assign(source="here", where="layer " + own["layer"].astype(str))
    size = published["model"].str.rpartition("-")[2].str.upper()
    paper = published.assign(source="paper", where=size + " layer " + published["layer"].astype(str))
    columns = ["source", "where", "nmse_median", "nmse_trim_2", "nmse", "nmse_mean", "nmse_max"]
    return pd.concat([own, paper.rename(columns={"nmse_trim_5": "nmse"})])[columns].reset_index(drop=True)


def crowding(neighbours: pd.DataFrame, close: float) -> pd.DataFrame:
    """What a table of :func:`neighbours` says of each width and kind of row.

    Columns: d_sae, kind, cosine (mean, from the middles of the bins), close_share (at ``close`` or above).
    """
    table = neighbours.assign(part=(neighbours["cosine"] + 0.01) * neighbours["share"])
    table["close_share"] = neighbours["share"].where(neighbours["cosine"] >= close - 0.01, 0.0)
    counted = table.groupby(["d_sae", "nominal_l0", "kind"], as_index=False)[["part", "close_share"]].sum()
    each = counted.groupby(["d_sae", "kind"], as_index=False)[["part", "close_share"]].mean()
    return each.rename(columns={"part": "cosine"})


def doublings(recorded: pd.DataFrame) -> pd.DataFrame:
    """What each next width takes off the error of a layer: a row for each two neighbouring widths.

    Columns: model, layer, d_sae (the wider), step (0 the first, counted from the narrowest), fall (share of
    the error; negative where the wider dictionary is worse, which no optimum is).
    """
    parts = []
    for (model, layer), own in recorded.groupby(["model", "layer"], sort=False):
        own = own.sort_values("d_sae")
        fall = 1.0 - own["nmse"].to_numpy()[1:] / own["nmse"].to_numpy()[:-1]
        row = {"model": model, "layer": layer, "d_sae": own["d_sae"].to_numpy()[1:], "step": range(len(fall))}
        parts.append(pd.DataFrame(row | {"fall": fall}))
    return pd.concat(parts, ignore_index=True)
