"""A grid of sparse autoencoders over the layers of a language model, in Gemma Scope's layout.

Every autoencoder reads the raw activations of one site. It is trained on activations that were centred and
scaled to unit mean square norm, and the scale is folded back into its weights (Lieberum et al. 2024, section
3.2). Two schedules: ``matched``, the same tokens for every width; ``scaled``, tokens that grow as
``width^0.65``, which is what convergence took in Gao et al. 2024.

>>> plan = Plan(widths=(128, 512), sparsities={"jumprelu": (0.01, 0.001), "topk": (16,)}, steps=100)
>>> [(rule.architecture, rule.l0, rule.k) for rule in plan.rules()]
[('jumprelu', 0.01, 1), ('jumprelu', 0.001, 1), ('topk', 0.0, 16)]
>>> plan.steps_of(512), Plan(widths=(128, 512), schedule="scaled", steps=100).steps_of(512)
(100, 246)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from geowall import sae
from geowall.kernels.sae_step import size, views
from geowall.language import cache, corpus, hub, tokens
from geowall.language.sites import Site
from geowall.language.sites import sites as sites_of
from geowall.language.store import Store
from geowall.paths import ROOT, GeowallError
from geowall.sae import gemma_scope
from geowall.sae.schedule import derive

CONVERGENCE = 0.65  # exponent of the tokens that a width needs (Gao et al. 2024, section 3.1)
BANDWIDTH = 0.03  # of jumprelu's straight-through gradient, in units of a scaled token's norm
SAMPLE = 4096  # tokens that a start is fitted to
ARCHITECTURES = ("jumprelu", "topk", "batchtopk", "spade")
SPARSITIES = {"jumprelu": (0.02, 0.006, 0.002, 0.0006), "topk": (16,)}


@dataclass(frozen=True)
class Plan:
    """What is trained at every site: widths, and for each architecture its sparsities.

    The sparsities of ``jumprelu`` are penalties of an active latent, in units of a scaled token's squared
    norm; those of ``topk`` and ``batchtopk`` are k; those of ``spade`` weigh its distance penalty. ``steps``
    are those of the smallest width.
    """

    widths: Sequence[int] = (128, 512)
    sparsities: Mapping[str, Sequence[float]] = field(default_factory=lambda: SPARSITIES)
    schedule: str = "matched"
    steps: int = 300
    batch: int = 512
    lr: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.schedule not in ("matched", "scaled"):
            why = f"the schedule {self.schedule!r} is not known"
            raise GeowallError("no grid was trained", why, "use matched or scaled")

    def rules(self) -> list[sae.Rule]:
        """A rule for every sparsity of every architecture."""
        made = []
        for name, values in self.sparsities.items():
            for value in values:
                if name == "jumprelu":
                    made.append(sae.Rule(name, l0=value, bandwidth=BANDWIDTH))
                elif name in ("topk", "batchtopk"):
                    made.append(sae.Rule(name, k=int(value)))
                else:
                    made.append(sae.Rule(name, l1=value))
        return made

    def steps_of(self, width: int) -> int:
        """Training steps of a width."""
        grows = self.schedule == "scaled"
        return round(self.steps * (width / min(self.widths)) ** (CONVERGENCE if grows else 0.0))

    def schedule_of(self, width: int, revive: bool) -> sae.Schedule:
        """How a width is trained. The dead are revived but for jumprelu, where they would start dense."""
        steps = self.steps_of(width)
        every = max(1, steps // 6)
        return sae.Schedule(steps, self.batch, self.lr, every=every, dead_after=every, revive=revive)


def grid(
    model: str = "lab-small",
    widths: Sequence[int] = (128, 512),
    sparsities: Mapping[str, Sequence[float]] = SPARSITIES,
    kinds: Sequence[str] = ("res",),
    layers: Sequence[int] | None = None,
    schedule: str = "matched",
    steps: int = 300,
    batch: int = 512,
    sequences: int | None = 320,
    source: str = "stdlib",
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    folder: Path | str | None = None,
    on_checkpoint: Callable[[int, int], None] | None = None,
) -> Path:
    """Train the grid of a model from its name: pack the ``sae`` part, extract, train what is missing.

    Args:
        model: as in :func:`geowall.language.hub.load`.
        widths: latents of the dictionaries.
        sparsities: for each architecture; see :class:`Plan`.
        kinds: of sites: ``res``, ``att``, ``mlp``.
        layers: which; all by default.
        schedule: ``matched`` or ``scaled``.
        steps: of the smallest width.
        batch: tokens in a step.
        sequences: of the ``sae`` part of the corpus, drawn by ``seed``; None takes all.
        source: the corpus.
        seed: of everything random.
        threads: sites trained at once on a CPU; the result does not depend on it.
        device: ``cpu`` or ``cuda``.
        folder: of the release; by default one of its own for these arguments, below ``runs/saes``.
        on_checkpoint: called with how many are there and how many will be.

    Returns:
        The folder. A call with the same arguments returns it at once, or goes on where one was stopped.
    """
    plan = Plan(tuple(widths), dict(sparsities), schedule, steps, batch, seed=seed)
    loaded = cache.loaded(model)
    found = sites_of(loaded, tuple(kinds), layers)
    part, tokenizer = corpus.load(source).split("sae"), hub.tokenizer(model)
    packed = tokens.pack(part, tokenizer, limit=sequences, seed=seed)
    store = cache.activations_of(model, packed.ids, found, documents=packed.document, dtype="bfloat16")
    key = f"{plan!r} {found!r} {store.manifest['tokens']} {hub.digest(loaded)}"
    place = Path(folder) if folder else release(model, key)
    train(store, found, plan, place, model, threads, device, on_checkpoint)
    return place


def release(model: str, key: str) -> Path:
    """The folder of a grid that was given none of its own: another for whatever makes it another grid."""
    hashed = hashlib.sha256(key.encode()).hexdigest()[:12]
    return ROOT / "runs" / "saes" / f"{Path(model).name}-{hashed}"


def train(
    store: Store,
    sites: Sequence[Site],
    plan: Plan,
    folder: Path,
    model: str,
    threads: int = 1,
    device: str = "cpu",
    on_checkpoint: Callable[[int, int], None] | None = None,
) -> None:
    """Train what the folder lacks of the plan at every site; each checkpoint is durable once written."""
    work = _Work(store, plan, folder, model, device, len(sites), on_checkpoint)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        list(pool.map(work.site, sites))


@dataclass
class _Work:
    store: Store
    plan: Plan
    folder: Path
    model: str
    device: str
    n_sites: int
    on_checkpoint: Callable[[int, int], None] | None
    count: int = 0

    def site(self, site: Site) -> None:
        """Train what is missing at a site, width by width."""
        rules, rows = self.plan.rules(), None
        for width in sorted(self.plan.widths):
            missing = [
                r
                for r in rules
                if not gemma_scope.done(self.folder, self.about(site, width, r), site.layer, width)
            ]
            self.tell(len(rules) - len(missing))
            for revive in (False, True):
                chosen = [rule for rule in missing if (rule.architecture in ("topk", "batchtopk")) == revive]
                if chosen:
                    rows = rows or sae.Rows(torch.from_numpy(self.store.read(site)), name=str(site))
                    self.width(site, width, chosen, rows, revive)

    def width(self, site: Site, width: int, rules: list[sae.Rule], rows: sae.Rows, revive: bool) -> None:
        """Train the rules at one width, and write them."""
        members = sae.grid([rows], [width], rules, [self.plan.seed])
        starts = {i: first for i, m in enumerate(members) if (first := start(rows, m)) is not None}
        schedule = self.plan.schedule_of(width, revive)
        trained = sae.train(members, schedule, device=self.device, starts=starts)
        for rule, made, row in zip(rules, trained.saes, trained.table.itertuples(), strict=True):
            if row.status == "trained":
                about = self.about(site, width, rule)
                gemma_scope.write(self.folder, rows.restore(made), site.layer, row.l0, about)
        self.tell(len(rules))

    def done(self, site: Site, width: int, rule: sae.Rule) -> bool:
        """Tell whether a checkpoint is there."""
        about = self.about(site, width, rule)
        return gemma_scope.done(self.folder, about, site.layer, width) is not None

    def about(self, site: Site, width: int, rule: sae.Rule) -> dict[str, Any]:
        """What tells a checkpoint from every other of its width and layer."""
        plan, steps = self.plan, self.plan.steps_of(width)
        return {
            "model": self.model,
            "site": site.kind,
            "seed": plan.seed,
            "schedule": plan.schedule,
            "architecture": rule.architecture,
            "k": rule.k,
            "penalty": rule.l0 or rule.l1,
            "steps": steps,
            "train_tokens": steps * plan.batch,
        }

    def tell(self, count: int) -> None:
        """Count checkpoints that are there."""
        self.count += count
        if self.on_checkpoint and count:
            self.on_checkpoint(self.count, self.n_sites * len(self.plan.widths) * len(self.plan.rules()))


def start(rows: sae.Rows, member: sae.Member) -> Float[Tensor, " parameter"] | None:
    """Where a member starts: on tokens, as sparse as it will roughly end; None where the trainer knows.

    Decoder rows are directions of tokens. The threshold lets as many latents fire as the penalty will allow
    for, an eighth of them at most; the encoder is the decoder's transpose at the scale that rebuilds tokens
    best. From a random start a few hundred steps end with the sparsity they began with.
    """
    rule, n = member.rule, member.n_latents
    if rule.architecture not in ("jumprelu", "topk", "batchtopk"):
        return None
    x = rows.sample(SAMPLE, derive(member.seed, "fit"))
    atoms = normalize(rows.sample(n, derive(member.seed, "atoms", n)), dim=1)
    # Measured on lab-small: the sparsity at which the penalty balances the error it saves.
    active = rule.k if rule.architecture != "jumprelu" else (0.15 / max(rule.l0, 1e-6)) ** 0.77
    p = x @ atoms.T
    nth = max(1, round(p.numel() * max(0.0, 1.0 - min(active, n / 8) / n)))
    edge = max(1e-3, float(p.flatten().kthvalue(nth).values))
    rebuilt = (p * (p > edge)) @ atoms
    scale = max(1e-4, float((x * rebuilt).sum() / rebuilt.square().sum().clamp(min=1e-12)))
    flat = torch.zeros(size(n, rows.d_model))
    parts = views(flat, n, rows.d_model)
    parts.dec.copy_(atoms)
    parts.enc.copy_(scale * atoms)
    parts.log_threshold.fill_(math.log(scale * edge))
    return flat
