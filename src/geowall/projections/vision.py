"""Activations of a vision transformer, with the class of each image: the naturalistic setting of the paper.

No vision weights come with the book. A reader who has some (a folder or a name of the Hugging Face hub, or
``timm:`` and a name of timm) reads activations here, saves them with :func:`geowall.projections.banks.save`,
and gives the file to chapter 03 as its ``source``.

>>> from transformers import ViTConfig, ViTModel
>>> size = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
>>> model = ViTModel(ViTConfig(image_size=8, patch_size=4, **size)).eval()
>>> tuple(embed(model, torch.zeros(3, 3, 8, 8), layer=1).shape)
(3, 5, 8)
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from geowall.paths import GeowallError

BATCH = 32  # images at once


def load(name: str) -> nn.Module:
    """A vision transformer in evaluation mode: a folder, a name of the hub, or ``timm:`` and a name.

    Raises:
        GeowallError: if the model cannot be had, or timm is asked for and not installed.
    """
    if name.startswith("timm:"):
        if find_spec("timm") is None:
            raise GeowallError("the vision model was not loaded", "timm is not installed", "pip install timm")
        import timm

        return timm.create_model(name.removeprefix("timm:"), pretrained=True).eval().requires_grad_(False)
    from transformers import AutoModel

    try:
        return AutoModel.from_pretrained(name).eval().requires_grad_(False)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise GeowallError("the vision model was not loaded", why, "give a folder that holds one") from None


def blocks(model: nn.Module) -> nn.ModuleList | nn.Sequential:
    """The transformer blocks, in order: the longest list of like modules.

    Raises:
        GeowallError: if the model has no such list.
    """
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len(m) > 1]
    alike = [m for m in lists if len({type(part) for part in m}) == 1]
    if not alike:
        why = f"a {type(model).__name__} holds no list of like blocks"
        raise GeowallError("no activations were read", why, "give a vision transformer")
    return max(alike, key=len)


@torch.no_grad()
def embed(
    model: nn.Module, images: Float[Tensor, "image channel height width"], layer: int
) -> Float[Tensor, "image token d_model"]:
    """The residual stream after block ``layer``, for each image its class token (if any) and its patches.

    Raises:
        GeowallError: if there is no such layer.
    """
    stack = blocks(model)
    if not 0 <= layer < len(stack):
        why = f"layer {layer} of a model with {len(stack)}"
        raise GeowallError("no activations were read", why, f"give a layer from 0 to {len(stack) - 1}")
    kept = []

    def keep(_module, _inputs, output):
        kept.append((output[0] if isinstance(output, tuple) else output).detach().float().cpu())

    handle = stack[layer].register_forward_hook(keep)
    try:
        for start in range(0, len(images), BATCH):
            model(images[start : start + BATCH])
    finally:
        handle.remove()
    return torch.cat(kept)


def labelled(
    embedded: Float[Tensor, "image token d_model"], classes: Int[Tensor, " image"]
) -> tuple[Float[Tensor, "row d_model"], Int[Tensor, " row"]]:
    """A row for each token, with the class of its image."""
    return embedded.flatten(0, 1), classes.repeat_interleave(embedded.shape[1])
