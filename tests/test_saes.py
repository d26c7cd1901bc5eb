"""The grid of autoencoders: from the name of a model to checkpoints that any reader of Gemma Scope opens."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from geowall import __main__ as command_line
from geowall import sae
from geowall.kernels.evaluate import Tokens, evaluate
from geowall.language import corpus, lab, saes, tokens
from geowall.language.sites import Site
from geowall.language.store import Store
from geowall.paths import GeowallError
from geowall.sae import gemma_scope

SPARSITIES = {"jumprelu": (0.02, 0.002), "topk": (4,), "spade": (0.01,)}
SIZE = lab.Spec(2, d_model=16, heads=2, groups=1, d_head=8, d_mlp=32, context=256, vocabulary=300)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder of texts and a model of two layers in a folder of its own; stores go beside them."""
    root = tmp_path_factory.mktemp("world")
    (root / "text").mkdir()
    for document in corpus.load().split("sae").documents[:40]:
        name = document.name.replace("/", "-")
        while corpus.part_of(name) != "sae":
            name = f"_{name}"
        (root / "text" / name).write_text(document.text[:4000])
    tokenizer = tokens.train_tokenizer(corpus.load(str(root / "text")), SIZE.vocabulary)
    lab.make(SIZE).save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOWALL_ACTIVATIONS", str(root / "stores"))
        yield root


def options(world: Path) -> dict:
    return {"widths": (16, 32), "steps": 60, "batch": 256, "sequences": 30, "source": str(world / "text")}


@pytest.fixture(scope="module")
def trained(world: Path) -> Path:
    told = []
    folder = saes.grid(
        str(world / "model"),
        sparsities=SPARSITIES,
        folder=world / "saes",
        **options(world),
        on_checkpoint=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (16, 16) and sorted(told) == told
    return folder


def activations(world: Path) -> Store:
    return Store.open(next(path for path in (world / "stores").glob("model-*") if path.is_dir()))


def test_every_layer_width_and_sparsity_is_there_and_says_what_it_is(trained: Path):
    found = gemma_scope.local(trained)
    assert len(found) == 2 * 2 * 4
    assert {(c.layer, c.d_sae, c.site) for c in found} == {(i, n, "res") for i in (0, 1) for n in (16, 32)}
    for checkpoint in found:
        assert checkpoint.about["train_tokens"] == 60 * 256 and checkpoint.about["schedule"] == "matched"
    given = {(c.about["architecture"], c.about["penalty"], c.about["k"]) for c in found}
    assert given == {("jumprelu", 0.02, 1), ("jumprelu", 0.002, 1), ("topk", 0, 4), ("spade", 0.01, 1)}


def test_checkpoints_read_raw_activations(world: Path, trained: Path):
    store = activations(world)
    for checkpoint in gemma_scope.local(trained):
        x = torch.from_numpy(store.read(Site("res", checkpoint.layer)))
        made = gemma_scope.read(Path(checkpoint.path))
        assert float(sae.metrics.fvu(x, made(x))) < 0.8
        if made.architecture != "spade":
            torch.testing.assert_close(made.W_dec.norm(dim=1), torch.ones(made.d_sae))
            assert float((made.encode(x) > 0).float().sum(1).mean()) < 0.8 * made.d_sae
        if made.architecture == "jumprelu":
            assert (made.threshold > 0).all()


def test_a_larger_penalty_gives_sparser_codes(trained: Path):
    found = [c for c in gemma_scope.local(trained) if c.about["architecture"] == "jumprelu" and c.d_sae == 32]
    l0 = {(c.layer, c.about["penalty"]): c.nominal_l0 for c in found}
    assert all(l0[layer, 0.02] < l0[layer, 0.002] for layer in (0, 1))


def test_what_is_missing_is_trained_again_to_the_same_bits(world: Path, trained: Path):
    paths = sorted(trained.rglob("params.npz"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    lost = paths[3]
    lost.unlink()
    (lost.parent / "about.json").unlink()
    saes.grid(str(world / "model"), sparsities=SPARSITIES, folder=trained, threads=2, **options(world))
    assert lost.read_bytes() == before[lost][0]
    assert all(path.stat().st_mtime_ns == before[path][1] for path in paths if path != lost)


def test_budgets_are_matched_or_grow_with_the_width():
    scaled = saes.Plan(widths=(128, 1024), schedule="scaled", steps=200)
    assert scaled.steps_of(1024) / scaled.steps_of(128) == pytest.approx(8**0.65, rel=0.01)
    assert {saes.Plan(widths=(128, 1024), steps=200).steps_of(n) for n in (128, 1024)} == {200}
    with pytest.raises(GeowallError, match="use matched or scaled"):
        saes.Plan(schedule="longer")


def test_a_start_is_about_as_sparse_as_it_is_asked_to_be():
    x = torch.randn(5000, 24, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 2, 24)
    rows = sae.Rows(x, name="x")
    for rule, active in ((sae.Rule("jumprelu", l0=0.02), 4.7), (sae.Rule("topk", k=8), 8.0)):
        member = sae.Member(rows, 128, rule, 0)
        parts = sae.model.from_flat(saes.start(rows, member), "jumprelu", 1, 128)
        z = rows.sample(4000, seed=9)
        assert float((parts.encode(z) > 0).sum(1).float().mean()) == pytest.approx(active, rel=0.25)
        assert float((z - parts(z)).square().sum(1).mean()) < 1.0, "no worse than nothing"
    assert saes.start(rows, sae.Member(rows, 128, sae.Rule("spade", l1=0.1), 0)) is None


def test_a_grid_of_another_model_lies_elsewhere():
    assert saes.release("lab-small", "a") != saes.release("lab-small", "b")
    assert saes.release("folder/lab-small", "a").name.startswith("lab-small-")


def test_the_command_trains_and_says_so(world: Path, capsys):
    command = ["lab", "saes", "--model", "lab-small", "--widths", "16", "--topk", "2", "--layers", "1"]
    more = ["--steps", "5", "--sequences", "2", "--to", str(world / "command")]
    assert command_line.main([*command, *more]) == 0
    assert "trained" in capsys.readouterr().err
    assert [c.d_sae for c in gemma_scope.local(world / "command")] == [16]


@pytest.mark.skipif(importlib.util.find_spec("sae_lens") is None, reason="sae_lens is of the extra `peers`")
def test_sae_lens_opens_a_checkpoint_of_the_grid_and_agrees(world: Path, trained: Path, monkeypatch):
    """By its own loader for Gemma Scope, which finds the file on this disk instead of the hub."""
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders as loaders

    checkpoint = next(c for c in gemma_scope.local(trained) if c.about["architecture"] == "jumprelu")
    ours, x = gemma_scope.read(Path(checkpoint.path)), activations(world).read(Site("res", checkpoint.layer))

    def from_disk(repo_id: str, filename: str, subfolder: str, **_: object) -> str:
        return str(trained / subfolder / filename)

    def sized(*given, cfg_overrides, **named):  # the loader takes the sizes from the names of Gemma's
        sizes = {"d_in": ours.d_model, "d_sae": ours.d_sae}
        own = {**(cfg_overrides or {}), **sizes}
        return loaders.gemma_2_sae_huggingface_loader(*given, cfg_overrides=own, **named)

    monkeypatch.setattr(loaders, "hf_hub_download", from_disk)
    place = checkpoint.name.removesuffix("/params.npz")
    peer = SAE.from_pretrained("lab/gemma-scope-2b-pt-res", place, converter=sized)
    x = torch.from_numpy(x[:500])
    found, codes = evaluate(ours, Tokens(x)), peer.encode(x)
    assert torch.equal(found.l0, (codes > 0).sum(1)) and found.l0.sum() > 0
    error = (x - peer.decode(codes)).square().sum(1).double()
    assert torch.allclose(found.squared_error, error, rtol=1e-4)
