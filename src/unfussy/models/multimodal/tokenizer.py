"""
Captions to ids and back, in the official form of ``tokenizer.json``.

Ids 0 to 3 are ``<PAD>``, ``<START>``, ``<END>`` and ``<UNK>``; words follow in order
of how frequent they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

from unfussy.errors import CheckpointError, InputValueError
from unfussy.models._locating import CheckpointNotFoundError

__all__ = ["FALLBACK", "CaptionTokenizer", "Style"]

Style: TypeAlias = Literal["production", "simple"]

FALLBACK: Final = "an engraving"
"""What a caption without words becomes."""

SPECIAL: Final = ("<PAD>", "<START>", "<END>", "<UNK>")
_PAD, _START, _END, _UNK = range(4)
_MARKS: Final = ".,!?;:"
_QUOTES: Final = "\"'"
_ADVICE: Final = "The training writes it beside best.pt, as checkpoints/tokenizer.json"


class CaptionTokenizer:
    """
    A vocabulary of whole words.

    Words are looked up in lower case and without punctuation around them. They were
    counted with it, so one that was only ever seen with a comma is not found.

    Args:
        word2idx: The id of each word, special ones included. By default there are
            none yet, and nothing can be encoded.
        vocab_size: The most words there may be, which is not how many there are:
            ``len(tokenizer)`` says that.
        style: ``"production"``, as training and inference use it, skips what is
            punctuation alone, strips quotes, and decodes up to the first ``<PAD>`` or
            ``<END>`` to words alone. ``"simple"`` does not, and writes ``<UNK>``.

    Attributes:
        word2idx: As given.
        idx2word: The other way round.
        vocab_size: As given.
        style: As given.
    """

    def __init__(
        self,
        word2idx: Mapping[str, int] | None = None,
        *,
        vocab_size: int = 8000,
        style: Style = "production",
    ) -> None:
        if style not in ("production", "simple"):
            raise InputValueError(f"style is 'production' or 'simple', got {style!r}")
        self.word2idx = dict(word2idx or {})
        self.idx2word = {index: word for word, index in self.word2idx.items()}
        self.vocab_size = vocab_size
        self.style: Style = style

    def __len__(self) -> int:
        """Return how many words there are, special ones included."""
        return len(self.word2idx)

    def __repr__(self) -> str:
        """Return what kind of tokenizer it is."""
        return f"CaptionTokenizer({len(self)} words, style={self.style!r})"

    # --- doors ---------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        captions: Iterable[str],
        /,
        *,
        vocab_size: int = 8000,
        min_freq: int = 1,
        style: Style = "production",
    ) -> Self:
        """
        Return a tokenizer of the most frequent words of *captions*.

        Args:
            captions: The texts to count.
            vocab_size: The most words, special ones included.
            min_freq: How often a word has to be there.
            style: As for the class.

        Examples:
            >>> CaptionTokenizer.build(["a fox", "a Tree."]).word2idx["tree."]
            6
        """
        counts = Counter(word for text in captions for word in text.lower().split())
        frequent = [w for w, count in counts.most_common() if count >= min_freq]
        words = (*SPECIAL, *frequent[: max(0, vocab_size - len(SPECIAL))])
        numbered = {word: index for index, word in enumerate(words)}
        return cls(numbered, vocab_size=vocab_size, style=style)

    @classmethod
    def from_file(
        cls, path: str | PathLike[str], /, *, style: Style = "production"
    ) -> Self:
        """
        Read an official ``tokenizer.json``.

        Raises:
            FileNotFoundError: If there is none.
            CheckpointError: If it cannot be read.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise CheckpointNotFoundError(f"there is no tokenizer {path}. {_ADVICE}")
        return cls._from_content(_read(file), file, style)

    @classmethod
    def _from_content(cls, content: Any, file: Path, style: Style) -> Self:
        try:
            ids = {str(word): int(i) for word, i in content["word2idx"].items()}
            named = {int(i): str(w) for i, w in content.get("idx2word", {}).items()}
            size = int(content.get("vocab_size", len(ids)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{file} is no tokenizer: it has no usable 'word2idx'. {_ADVICE}"
            ) from error
        tokenizer = cls(ids, vocab_size=size, style=style)
        tokenizer.idx2word.update(named)
        return tokenizer

    def save(self, path: str | PathLike[str], /) -> Path:
        """Write the official ``tokenizer.json`` and return the file."""
        file = Path(path).expanduser()
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "word2idx": self.word2idx,
            "idx2word": {str(index): word for index, word in self.idx2word.items()},
            "vocab_size": self.vocab_size,
        }
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return file

    # --- there and back ------------------------------------------------------------

    def encode(self, caption: str, /, max_length: int = 100) -> list[int]:
        """
        Return the ids of *caption* between ``<START>`` and ``<END>``.

        Args:
            caption: The text.
            max_length: How many ids to return: padded, or cut, which loses ``<END>``.

        Raises:
            InputValueError: If the tokenizer has no words yet.
        """
        if not self.word2idx:
            raise InputValueError(
                "this tokenizer has no words: use CaptionTokenizer.build(captions) "
                "or CaptionTokenizer.from_file(path)"
            )
        words = [self.word2idx.get(word, _UNK) for word in self._words_of(caption)]
        ids = [_START, *words, _END][:max_length]
        return ids + [_PAD] * (max_length - len(ids))

    def decode(self, ids: Iterable[int], /) -> str:
        """Return the caption of *ids*, numbers or a tensor."""
        numbers = [int(index) for index in ids]
        if self.style == "simple":
            kept = [i for i in numbers if i not in (_PAD, _START, _END)]
            return " ".join(self.idx2word.get(i, SPECIAL[_UNK]) for i in kept)
        stop = next((k for k, i in enumerate(numbers) if i in (_PAD, _END)), None)
        spoken = self.spoken_ids()
        return " ".join(self.idx2word[i] for i in numbers[:stop] if i in spoken) or (
            FALLBACK
        )

    def spoken_ids(self) -> frozenset[int]:
        """Return the ids of words that may stand in a caption."""
        return frozenset(
            index
            for index, word in self.idx2word.items()
            if index not in range(len(SPECIAL))
            and not word.startswith("<")
            and word != "[UNK]"
        )

    def _words_of(self, caption: str) -> list[str]:
        words = caption.lower().split()
        if self.style == "simple":
            return [word.strip(_MARKS) for word in words]
        stripped = (word.strip(_MARKS + _QUOTES) for word in words)
        return [word for word in stripped if word]


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read as JSON ({error})") from error
