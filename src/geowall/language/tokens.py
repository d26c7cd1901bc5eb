"""A byte-level tokenizer of the corpus, and its packing into sequences without padding.

Documents follow one another in a stream that is cut every ``context - 1`` tokens; each sequence opens with
BOS. Every token keeps its document, its place there and the characters it stands for.

>>> from geowall.language.corpus import Corpus, Document
>>> corpus = Corpus("example", "", (Document("a", "x = 1\\ny = 2\\n"), Document("b", "x = y\\n")))
>>> packed = pack(corpus, train_tokenizer(corpus, size=270), context=7)
>>> packed.ids.shape, packed.document[0].tolist(), packed.start[0].tolist()
(torch.Size([2, 7]), [-1, 0, 0, 0, 0, 0, 0], [-1, 0, 1, 3, 5, 6, 7])
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from geowall.language.corpus import Corpus
from geowall.paths import GeowallError

VOCABULARY = 4096
SPECIAL = ("<pad>", "<eos>", "<bos>")  # the numbers they have in Gemma 2: 0, 1, 2
# A newline, the indentation after it, words and numbers with the space before them, signs, other space.
PIECES = r"\n|(?<=\n)[ \t]+| ?[\p{L}_]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}_]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Packed:
    """Sequences of tokens, and for each token where it comes from; -1 for BOS, which comes from nowhere.

    ``document`` counts into ``names``; ``place`` is the token's number in its document; ``start`` and ``end``
    bound its characters there.
    """

    ids: Int[Tensor, "sequence position"]
    document: Int[Tensor, "sequence position"]
    place: Int[Tensor, "sequence position"]
    start: Int[Tensor, "sequence position"]
    end: Int[Tensor, "sequence position"]
    names: tuple[str, ...]
    bos: int

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, chosen: Int[Tensor, " sequence"]) -> Packed:
        """These sequences alone."""
        parts = (part[chosen] for part in (self.ids, self.document, self.place, self.start, self.end))
        return Packed(*parts, self.names, self.bos)


def train_tokenizer(corpus: Corpus, size: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE; it puts BOS before a text, as Gemma's does."""
    tokenizer = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator((document.text for document in corpus.documents), trainer)
    bos = SPECIAL.index("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", bos)]
    )
    pad, eos, bos = SPECIAL
    special = {"pad_token": pad, "eos_token": eos, "bos_token": bos}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)


def stream(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> Int[Tensor, "token 5"]:
    """All tokens of a corpus in a row: id, document, place, start and end."""
    texts = [document.text for document in corpus.documents]
    parts = []
    for first in range(0, len(texts), 64):
        encoded = tokenizer(
            texts[first : first + 64], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        for i, (ids, spans) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
            if not ids:
                continue
            token = torch.tensor(ids, dtype=torch.int32)
            document, place = torch.full_like(token, first + i), torch.arange(len(ids), dtype=torch.int32)
            span = torch.tensor(spans, dtype=torch.int32)
            parts.append(torch.column_stack([token, document, place, span]))
    return torch.cat(parts)


def pack(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    context: int = 256,
    limit: int | None = None,
    seed: int = 0,
) -> Packed:
    """Cut the stream into sequences of ``context`` tokens, BOS included; what is left at the end is dropped.

    Args:
        corpus: the part to pack.
        tokenizer: any fast tokenizer with a BOS token, Gemma's for instance.
        context: tokens in a sequence.
        limit: how many sequences to keep, drawn evenly over the stream by ``seed``; None keeps all.
        seed: of that draw.

    Raises:
        GeowallError: if the corpus does not fill one sequence.
    """
    tokens, span = stream(corpus, tokenizer), context - 1
    count = len(tokens) // span
    if count == 0:
        why = f"the part {corpus.part!r} has {len(tokens)} tokens and a sequence takes {span}"
        raise GeowallError("nothing was packed", why, "give a shorter context or a longer corpus")
    cut = tokens[: count * span].view(count, span, 5)
    if limit is not None and limit < count:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        cut = cut[order[:limit].sort().values]
    opening = torch.full((len(cut), 1, 5), -1, dtype=torch.int32)
    opening[..., 0] = tokenizer.bos_token_id
    ids, document, place, start, end = torch.cat([opening, cut], dim=1).unbind(-1)
    names = tuple(entry.name for entry in corpus.documents)
    kept = (part.contiguous() for part in (ids.long(), document, place, start, end))
    return Packed(*kept, names, tokenizer.bos_token_id)
