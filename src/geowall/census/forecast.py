"""What chapter 05 will cost before it runs: arithmetic on the list of checkpoints, and this machine's speed.

>>> given = {"model": "lab-small", "source": "grid", "widths": [128], "penalties": [0.01], "steps": 100}
>>> given |= {"layer": 6, "ladder": [64], "n_tokens": 8000}
>>> sorted(forecast(given, rate=5e10))[:3], forecast(given, rate=5e10)["download_mb"]
(['basis', 'disk_mb', 'download_mb'], 0.0)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from geowall.language import cost, hub
from geowall.paths import GeowallError
from geowall.sae import inventory
from geowall.sae.gemma_scope import open_checked

TRAINING = 12.0  # products of latents x dimensions in a step of training, for each token
TEXT = 6  # times the tokens of the census that a grid is trained on
REST = 45.0  # seconds of everything else: text, labels, manifolds alone, figures


def forecast(given: Mapping[str, object], rate: float | None = None) -> dict[str, object]:
    """Seconds, memory, disk and download of chapter 05 with the parameters ``given``.

    ``rate`` is the floating-point operations a second of a matrix product here; measured by default. Download
    time is not in it: the network's speed is not known.
    """
    rate, tokens, own = rate or speed(), int(given["n_tokens"]), given["source"] == "grid"
    plan = (_grid if own else _listed)(given)
    weights, download = cost.weights(str(given["model"]))
    read = tokens * (1 + TEXT * _repeats(given) if own else 1)
    work = plan.training + sum(2.0 * n * plan.d * tokens for n in plan.sizes) + 2.0 * weights * read
    activations = 4.0 * plan.d * plan.layers * tokens * (1 + TEXT if own else 1)
    held = 4.0 * (weights + 4 * max(plan.sizes) * plan.d + 3 * tokens * plan.d)
    return {
        "seconds": REST + work / rate,
        "memory_mb": 900.0 + held / 1e6,
        "gpu_mb": held / 1e6 if torch.cuda.is_available() else 0.0,
        "disk_mb": (activations + plan.kept + download) / 1e6,
        "download_mb": (plan.download + download) / 1e6,
        "basis": f"{len(plan.sizes)} checkpoints and the model's forward passes at this machine's matrix "
        "product, download time not counted",
    }


@dataclass(frozen=True)
class Plan:
    """What is measured: widths of all checkpoints, operations of training them, bytes to have and to keep."""

    d: int
    layers: int
    sizes: list[int]
    training: float
    download: float
    kept: float


def _grid(given: Mapping[str, object]) -> Plan:
    config = hub.config(str(given["model"]))
    config = getattr(config, "text_config", config)
    d, layers = config.hidden_size, config.num_hidden_layers
    ladders = 1 + 3 * _repeats(given)
    sizes = [n for n in given["widths"] for _ in given["penalties"]] * layers + list(
        given["ladder"]
    ) * ladders
    training = sum(2.0 * TRAINING * n * d * given["steps"] * 512 for n in sizes)
    return Plan(d, layers, sizes, training, 0.0, 4.0 * 2 * d * sum(sizes))


def _repeats(given: Mapping[str, object]) -> int:
    """Ladders that the chapter trains at each of three layers."""
    return 2 if int(given["n_tokens"]) > 10_000 else 1


def _listed(given: Mapping[str, object]) -> Plan:
    """The list of Gemma Scope needs no network; a folder's checkpoints are counted where they lie."""
    source, model = str(given["source"]), str(given["model"])
    every = inventory.checkpoints(source.removesuffix(inventory.KEEP), model)
    ladder = [c for c in every if c.layer == given["layer"] and c.d_sae in given["ladder"]]
    found = {c.key: c for c in [*ladder, *(c for c in every if c.d_sae in given["widths"])]}
    if not found:
        raise GeowallError("nothing to forecast", f"{source} has none of these widths", "choose others")
    d = inventory.D_MODEL.get(model.rpartition("/")[2]) or open_checked(Path(every[0].path))[0].d_model
    layers, sizes = len({c.layer for c in every}), [c.d_sae for c in found.values()]
    stay = ladder if source == "hub" else found.values()
    download, kept = (float(inventory.download_bytes(own)) for own in (found.values(), stay))
    return Plan(d, layers, sizes, 0.0, download, kept)


def speed() -> float:
    """Floating-point operations a second of a float32 matrix product on the device that will be used."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, best = torch.randn(1024, 1024, device=device), float("inf")
    for _ in range(4):
        began = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - began)
    return 2.0 * 1024**3 / best
