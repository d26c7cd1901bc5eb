"""Finding and loading a language model by its name: the lab's own, a folder, or the Hugging Face hub.

Whether a model can be had is known in seconds and said in three lines, before anything is downloaded; no
message holds a token.

>>> find("lab-tiny")
Traceback (most recent call last):
...
geowall.paths.GeowallError: the model lab-tiny cannot be had
  why: it is no model of the lab, and no folder has that name
  fix: did you mean lab-small?
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from huggingface_hub import HfApi, constants, get_hf_file_metadata, get_token, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from geowall.paths import ROOT, GeowallError

if TYPE_CHECKING:  # a question to the hub should not wait for torch and transformers
    import torch
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

LAB = ("lab-small", "lab-large")
NEEDED = ("config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "*.safetensors*")
_DIGESTS: WeakKeyDictionary[nn.Module, tuple[list, str]] = WeakKeyDictionary()
PATIENCE = 2.0  # seconds for each of the two questions the hub is asked


@dataclass(frozen=True)
class Found:
    """A model that can be had: where it lies, or how many bytes must be downloaded first."""

    name: str
    kind: str  # lab, folder, cache or hub
    path: Path | None
    download_bytes: int = 0


def find(name: str) -> Found:
    """Say where the model ``name`` lies, in at most five seconds.

    Raises:
        GeowallError: it cannot be had: no such model, no network, no token, or a licence not accepted.
    """
    folder = ROOT / "data" / "lab" / name if name in LAB else Path(name)
    if (folder / "config.json").is_file():
        return Found(name, "lab" if name in LAB else "folder", folder)
    if name in LAB:
        raise _refused(name, f"data/lab/{name} holds no model", "geowall lab train")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        near = difflib.get_close_matches(name, LAB, 1, 0.4) or LAB[:1]
        raise _refused(
            name, "it is no model of the lab, and no folder has that name", f"did you mean {near[0]}?"
        )
    cached = _cached(name)
    return Found(name, "cache", cached) if cached else Found(name, "hub", None, _download_bytes(name))


def check(values: dict[str, Any]) -> None:
    """Refuse a chapter's parameters at once if their model cannot be had: its ``preflight``."""
    find(values["model"])


def load(name: str, dtype: str = "float32", device: str = "auto") -> nn.Module:
    """Load a causal language model for reading: evaluation mode, eager attention, no gradients.

    Args:
        name: ``lab-small``, ``lab-large``, a folder, or a name on the hub.
        dtype: precision of weights and activations.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``gpu``, or ``spread`` over all GPUs.

    Raises:
        GeowallError: see :func:`find`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "attn_implementation": "eager"}
    if device == "spread":
        options["device_map"] = "auto"
    path = fetch(name)
    model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, use_safetensors=True, **options)
    if device != "spread":
        model = model.to(place(device))
    model.config._name_or_path = name
    return model.eval().requires_grad_(False)


def place(device: str) -> torch.device:
    """The device of torch that a parameter names: ``auto``, ``cpu``, ``gpu``, or one of torch's own."""
    import torch

    if device in ("auto", "spread"):
        device = "gpu" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda" if device == "gpu" else device)


def tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(fetch(name), local_files_only=True)


def config(name: str) -> PretrainedConfig:
    """Load a model's configuration alone; if its weights are not here, a few kilobytes are downloaded."""
    from transformers import AutoConfig

    path = find(name).path or snapshot_download(name, allow_patterns=["config.json"])
    return AutoConfig.from_pretrained(path, local_files_only=True)


def fetch(name: str) -> Path:
    """Folder of a model's files, downloaded if need be; what a broken download left is used again."""
    found = find(name)
    return found.path or Path(snapshot_download(name, allow_patterns=list(NEEDED)))


def digest(model: nn.Module) -> str:
    """Twelve hexadecimal digits of a hash over the names, shapes, precisions and values of all weights.

    It is kept for as long as the model lives and no weight was changed or moved, as torch counts changes: one
    made through ``weight.data`` is the one kind that torch does not see.
    """
    weights = sorted(model.state_dict().items())
    state = [(name, weight.data_ptr(), weight._version) for name, weight in weights]
    if model in _DIGESTS and _DIGESTS[model][0] == state:
        return _DIGESTS[model][1]
    hashed = _hash(weights)
    _DIGESTS[model] = state, hashed
    return hashed


def _hash(weights: list[tuple[str, torch.Tensor]]) -> str:
    import torch

    hashed = hashlib.sha256()
    for name, weight in weights:
        hashed.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        hashed.update(memoryview(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()))
    return hashed.hexdigest()[:12]


def _cached(name: str) -> Path | None:
    """Snapshot of a model in the hub's cache, if all of it is there."""
    try:
        path = Path(snapshot_download(name, local_files_only=True, allow_patterns=list(NEEDED)))
    except OSError:
        return None
    index = path / "model.safetensors.index.json"
    if index.is_file():
        weights = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        weights = {"model.safetensors"}
    return path if all((path / file).is_file() for file in {"config.json", *weights}) else None


def _download_bytes(name: str) -> int:
    """Bytes that loading a model would download; asks the hub whether it would give them.

    Only the kind of an error is reported: its text may hold what was sent.
    """
    if constants.HF_HUB_OFFLINE:
        why = "it is not in the hub's cache, and HF_HUB_OFFLINE keeps this process off the network"
        raise _refused(name, why, "unset HF_HUB_OFFLINE, or choose -p model=lab-small")
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=PATIENCE)
        files = HfApi().model_info(name, files_metadata=True, timeout=PATIENCE).siblings or []
    except GatedRepoError:
        page = f"https://huggingface.co/{name}"
        if get_token() is None:
            fix = f"accept the licence at {page}, then `hf auth login`, or choose -p model=lab-small"
            raise _refused(name, "its licence must be accepted, and no token says who you are", fix) from None
        why = "the account of your token has not accepted its licence"
        raise _refused(name, why, f"accept it at {page}, or choose -p model=lab-small") from None
    except RepositoryNotFoundError:
        why = "the hub has no such model, or shows it to nobody without the right token"
        raise _refused(name, why, "mend the name, or `hf auth login`") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        fix = "`hf auth login` again" if status == 401 else "try again later, or choose -p model=lab-small"
        raise _refused(name, f"the hub answered {status}", fix) from None
    except (OfflineModeIsEnabled, OSError, HTTPError) as error:
        why = f"it is not in the hub's cache, and the hub cannot be reached ({type(error).__name__})"
        raise _refused(name, why, "connect to the network, or choose -p model=lab-small") from None
    return sum(file.size or 0 for file in files if any(fnmatch(file.rfilename, p) for p in NEEDED))


def _refused(name: str, why: str, fix: str) -> GeowallError:
    return GeowallError(f"the model {name} cannot be had", why, fix)
