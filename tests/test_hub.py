"""Finding models: offline in a hand-made cache, and what a reader without token or network is told."""

from __future__ import annotations

import doctest
import http.server
import json
import threading
import time

import pytest
import torch
from huggingface_hub import constants
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from geowall.language import hub
from geowall.paths import GeowallError

SECRET = "hf_" + "x" * 20
SHA = "0123456789abcdef0123456789abcdef01234567"


def tiny():
    torch.manual_seed(0)
    size = dict(hidden_size=24, intermediate_size=32, num_hidden_layers=3, head_dim=8, sliding_window=8)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, query_pre_attn_scalar=8, vocab_size=60)
    return Gemma2ForCausalLM(Gemma2Config(**size, **heads, bos_token_id=2, eos_token_id=1, pad_token_id=0))


def words():
    vocabulary = {name: i for i, name in enumerate(["<pad>", "<eos>", "<bos>", *map(chr, range(97, 123))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", pad_token="<pad>")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A hub cache with a tiny random Gemma 2 under the name of the real one, as plain files."""
    folder = tmp_path_factory.mktemp("hub")
    repo = folder / "models--google--gemma-2-2b"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(SHA)
    tiny().save_pretrained(repo / "snapshots" / SHA)
    words().save_pretrained(repo / "snapshots" / SHA)
    return folder


def test_the_worked_example():
    assert doctest.testmod(hub).failed == 0


def test_a_model_of_the_hub_is_found_and_loaded_from_a_cache_offline(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = hub.find("google/gemma-2-2b")
    assert found.kind == "cache" and found.download_bytes == 0 and found.path.name == SHA
    model = hub.load("google/gemma-2-2b", device="cpu")
    assert model.config._attn_implementation == "eager" and not model.training
    assert not any(weight.requires_grad for weight in model.parameters())
    assert hub.digest(model) == hub.digest(tiny()) != hub.digest(tiny().bfloat16())
    before = hub.digest(model)
    with torch.no_grad():
        next(model.parameters())[0] += 1
    assert hub.digest(model) != before  # it is remembered, but not past a change
    assert hub.config("google/gemma-2-2b").num_hidden_layers == 3
    assert hub.tokenizer("google/gemma-2-2b")("abc")["input_ids"] == [3, 4, 5]
    half = hub.load("google/gemma-2-2b", dtype="bfloat16", device="cpu")
    assert half.dtype == torch.bfloat16


def test_half_a_download_is_no_model(cache, monkeypatch, tmp_path):
    repo = tmp_path / "models--google--gemma-2-2b"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(SHA)
    (repo / "snapshots" / SHA).mkdir(parents=True)
    whole = cache / repo.name / "snapshots" / SHA
    (repo / "snapshots" / SHA / "config.json").write_bytes((whole / "config.json").read_bytes())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(GeowallError, match="keeps this process off the network"):
        hub.find("google/gemma-2-2b")


def test_a_folder_is_a_model_and_a_misspelt_one_is_answered(tmp_path):
    tiny().save_pretrained(tmp_path / "mine")
    assert hub.find(str(tmp_path / "mine")).kind == "folder"
    assert hub.load(str(tmp_path / "mine"), device="cpu").config.num_hidden_layers == 3
    with pytest.raises(GeowallError, match="did you mean lab-large"):
        hub.find("lab-lrage")


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the real hub does; which answer is the server's ``says``."""

    def do_HEAD(self):
        self.server.asked.append((self.path, self.headers.get("authorization", "")))
        status, code = self.server.says
        if status == 200:
            self.send_response(200)
            for name, value in {"ETag": '"e"', "X-Repo-Commit": SHA, "Content-Length": "9"}.items():
                self.send_header(name, value)
        else:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", f"no, {SECRET}")
        self.end_headers()

    def do_GET(self):
        names = {
            "config.json": 700,
            "model-00001-of-00002.safetensors": 5_000,
            "README.md": 99,
            "a.gguf": 10**9,
        }
        files = [{"rfilename": name, "size": size} for name, size in names.items()]
        body = json.dumps({"id": "google/gemma-2-2b", "sha": SHA, "siblings": files}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    served.asked = []
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{served.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("HF_TOKEN", SECRET)
    yield served
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize(
    ("says", "token", "words"),
    [
        ((401, "GatedRepo"), None, ("licence must be accepted, and no token", "hf auth login")),
        ((403, "GatedRepo"), SECRET, ("has not accepted its licence", "huggingface.co/google/gemma-2-2b")),
        ((401, "RepoNotFound"), SECRET, ("no such model", "mend the name")),
        ((401, ""), SECRET, ("the hub answered 401", "hf auth login")),
        ((500, ""), SECRET, ("the hub answered 500", "lab-small")),
    ],
)
def test_a_refusal_is_three_lines_without_the_token(says, token, words, server, monkeypatch, capfd):
    server.says = says
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere")
    began = time.monotonic()
    with pytest.raises(GeowallError) as caught:
        hub.find("google/gemma-2-2b")
    assert time.monotonic() - began < 5
    text = str(caught.value)
    assert text.count("\n") == 2 and all(word in text for word in words)
    assert "hf_" not in text + "".join(capfd.readouterr())
    assert caught.value.__suppress_context__
    assert server.asked == [
        ("/google/gemma-2-2b/resolve/main/config.json", f"Bearer {token}" if token else "")
    ]


def test_a_model_that_can_be_had_says_what_it_downloads(server):
    server.says = (200, "")
    found = hub.find("google/gemma-2-2b")
    assert found.kind == "hub" and found.path is None
    assert found.download_bytes == 700 + 5_000  # of the four files, the two that loading needs


def test_without_a_network_three_lines_come_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    url = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"  # the discard port: nobody listens
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
    began = time.monotonic()
    with pytest.raises(GeowallError, match="the hub cannot be reached"):
        hub.find("google/gemma-2-2b")
    assert time.monotonic() - began < 5
