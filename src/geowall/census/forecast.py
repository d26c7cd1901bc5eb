"""What chapter 05 will cost before it runs: arithmetic on the list of checkpoints, and this machine's speed.

>>> given = {"model": "lab-small", "source": "grid", "widths": [128], "penalties": [0.01], "steps": 100}
>>> given |= {"layer": 6, "ladder": [64], "n_tokens": 8000}
>>> sorted(forecast(given, rate=5e10))[:3], forecast(given, rate=5e10)["download_mb"]
(['basis', 'disk_mb', 'download_mb'], 0.0)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch

from geowall.language import hub
from geowall.paths import GeowallError
from geowall.sae import inventory
from geowall.sae.gemma_scope import open_checked

TRAINING = 12.0  # products of latents x dimensions in a step of training, for each token
REST = 45.0  # seconds of everything else: text, labels, manifolds alone, figures


def forecast(given: Mapping[str, object], rate: float | None = None) -> dict[str, object]:
    """Seconds, memory, disk and download of chapter 05 with the parameters ``given``.

    ``rate`` is the floating-point operations a second of a matrix product here; measured by default. Download
    time is not in it: the network's speed is not known.
    """
    rate, tokens = rate or speed(), int(given["n_tokens"])
    d, layers, sizes, training, download = (_grid if given["source"] == "grid" else _listed)(given)
    widest = max(sizes)
    work = training + sum(2.0 * n * d * tokens for n in sizes)
    activations = 4.0 * tokens * d * layers * (7 if given["source"] == "grid" else 1)
    on_disk = 4.0 * 2 * d * sum(sizes) if given["source"] == "grid" else float(download)
    cuda = torch.cuda.is_available()
    held = 4.0 * (4 * widest * d + 3 * tokens * d)
    return {
        "seconds": REST + work / rate,
        "memory_mb": 900.0 + held / 1e6,
        "gpu_mb": held / 1e6 if cuda else 0.0,
        "disk_mb": (activations + on_disk) / 1e6,
        "download_mb": download / 1e6,
        "basis": f"{len(sizes)} checkpoints at this machine's matrix product, download time not counted",
    }


Plan = tuple[int, int, list[int], float, float]  # d_model, layers, widths, operations of training, bytes


def _grid(given: Mapping[str, object]) -> Plan:
    config = hub.config(str(given["model"]))
    config = getattr(config, "text_config", config)
    d, layers = config.hidden_size, config.num_hidden_layers
    sizes = [n for n in given["widths"] for _ in given["penalties"]] * layers + list(given["ladder"])
    return d, layers, sizes, sum(2.0 * TRAINING * n * d * given["steps"] * 512 for n in sizes), 0.0


def _listed(given: Mapping[str, object]) -> Plan:
    """The list of Gemma Scope needs no network; a folder's checkpoints are counted where they lie."""
    source, model = str(given["source"]), str(given["model"])
    every = inventory.checkpoints(source, model)
    ladder = [c for c in every if c.layer == given["layer"] and c.d_sae in given["ladder"]]
    found = {c.key: c for c in [*ladder, *(c for c in every if c.d_sae in given["widths"])]}
    if not found:
        raise GeowallError("nothing to forecast", f"{source} has none of these widths", "choose others")
    d = inventory.D_MODEL.get(model.rpartition("/")[2]) or open_checked(Path(every[0].path))[0].d_model
    layers, sizes = len({c.layer for c in every}), [c.d_sae for c in found.values()]
    return d, layers, sizes, 0.0, float(inventory.download_bytes(found.values()))


def speed() -> float:
    """Floating-point operations a second of a float32 matrix product on the device that will be used."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, best = torch.randn(1024, 1024, device=device), float("inf")
    for _ in range(4):
        began = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - began)
    return 2.0 * 1024**3 / best
