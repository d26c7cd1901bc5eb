"""Places in a language model where activations are read, named as Gemma Scope names them.

Gemma Scope (arXiv 2408.05147) trains autoencoders at three places of each block ``l``:

* ``res``: the residual stream after the block;
* ``att``: the attention heads' outputs, concatenated, before the output projection mixes them;
* ``mlp``: what the MLP adds to the residual stream, after its own norm where the model has one.

>>> site = Site.parse("layer_3/res")
>>> site, str(site), site < Site("res", 4)
(Site(layer=3, kind='res'), 'layer_3/res', True)
>>> Site("mlp", 0).layer
0
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from geowall.paths import GeowallError

KINDS = ("att", "mlp", "res")  # in the order in which a block computes them
_ATTENTION = ("self_attn", "attn", "attention", "self_attention")
_PROJECTION = ("o_proj", "out_proj", "c_proj", "dense", "wo")
_MLP = ("mlp", "feed_forward", "ffn")
_POST_NORM = ("post_feedforward_layernorm",)


@dataclass(frozen=True, order=True, init=False)
class Site:
    """One place: its kind (``res``, ``att`` or ``mlp``) and its layer, counted from zero."""

    layer: int
    order: int = field(repr=False)
    kind: str = field(compare=False)

    def __init__(self, kind: str, layer: int) -> None:
        if kind not in KINDS or layer < 0:
            why = f"a site is one of {', '.join(KINDS)} at a layer counted from zero"
            raise GeowallError(f"there is no site {kind!r} at layer {layer}", why, 'Site("res", 0)')
        for name, value in (("layer", int(layer)), ("order", KINDS.index(kind)), ("kind", kind)):
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return f"layer_{self.layer}/{self.kind}"

    @classmethod
    def parse(cls, text: str) -> Site:
        """Read ``layer_3/res``."""
        found = re.fullmatch(r"layer_(\d+)/([a-z]+)", text)
        if not found:
            raise GeowallError(f"{text!r} names no site", "a site is written layer_LAYER/KIND", "layer_0/res")
        return cls(found[2], int(found[1]))


@dataclass(frozen=True)
class Tap:
    """Where a site's value is taken in a model: a module's dotted path, and its ``input`` or ``output``."""

    path: str
    side: str


def blocks(model: nn.Module) -> str:
    """Path of the list of decoder blocks: the one module list as long as the config says.

    Raises:
        GeowallError: the model has no such list, or several.
    """
    count = config_of(model).num_hidden_layers
    lists = [n for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    lists = [n for n in lists if _child(model.get_submodule(f"{n}.0"), (*_ATTENTION, *_MLP))]
    if len(lists) != 1:
        why = f"{len(lists)} of its module lists have {count} entries with attention and an MLP"
        raise GeowallError(f"no blocks were found in a {type(model).__name__}", why, "give a causal decoder")
    return lists[0]


def tap(model: nn.Module, site: Site, stack: str | None = None) -> Tap:
    """Where ``site`` is taken in ``model``; ``stack`` is the path of its blocks, where that is known.

    Raises:
        GeowallError: the model has no such layer, or its block has no part of that kind.
    """
    stack = stack or blocks(model)
    count = len(model.get_submodule(stack))
    if site.layer >= count:
        why = f"the model has {count} layers, counted from zero"
        raise GeowallError(f"there is no site {site}", why, f"Site({site.kind!r}, {count - 1})")
    path = f"{stack}.{site.layer}"
    block = model.get_submodule(path)
    if site.kind == "res":
        return Tap(path, "output")
    if site.kind == "att":
        return Tap(_descend(block, path, _ATTENTION, _PROJECTION), "input")
    normed = _child(block, _POST_NORM)
    return Tap(f"{path}.{normed}" if normed else _descend(block, path, _MLP), "output")


def width(model: nn.Module, site: Site, stack: str | None = None) -> int:
    """Number of dimensions of an activation at ``site``; ``stack`` as in :func:`tap`."""
    if site.kind != "att":
        return config_of(model).hidden_size
    weight = model.get_submodule(tap(model, site, stack).path)
    # A Linear holds [out, in]; GPT-2's Conv1D holds [in, out].
    return weight.in_features if hasattr(weight, "in_features") else weight.weight.shape[0]


def sites(
    model: nn.Module, kinds: Iterable[str] = ("res",), layers: Iterable[int] | None = None
) -> list[Site]:
    """All sites of these kinds at these layers (all layers by default), in the order they are computed."""
    chosen = range(config_of(model).num_hidden_layers) if layers is None else layers
    return sorted(Site(kind, layer) for kind in kinds for layer in chosen)


def config_of(model: nn.Module):
    """The text model's configuration (a vision-language model keeps it one level down)."""
    return model.config.get_text_config()


def _child(block: nn.Module, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if hasattr(block, name)), None)


def _descend(module: nn.Module, path: str, *levels: tuple[str, ...]) -> str:
    for names in levels:
        name = _child(module, names)
        if name is None:
            why = f"{path} is a {type(module).__name__} with none of {', '.join(names)}"
            raise GeowallError("a site was not found", why, "take the residual stream: Site('res', layer)")
        module, path = getattr(module, name), f"{path}.{name}"
    return path
