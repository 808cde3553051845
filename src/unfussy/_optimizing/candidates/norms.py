"""Batch norms computed by the layer in front of them, which is exact in eval mode."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from unfussy._optimizing.candidate import Candidate, Trial, Undo
from unfussy._optimizing.candidates.compiling import is_compiled
from unfussy._optimizing.candidates.deferred import Absorbed
from unfussy._optimizing.candidates.pairs import find_pairs, may_have_pairs
from unfussy._optimizing.candidates.prepared import Prepared, prepared, put_forwards

__all__ = ["FoldNorms"]


class FoldNorms(Candidate):
    """
    Batch norms folded into the weights of the convolution or linear layer before them.

    Their product is kept beside the two, and is made anew when either changes.
    """

    name: ClassVar[str] = "fold_norms"
    summary: ClassVar[str] = "let layers compute the batch norms behind them"

    def obstacle(self, trial: Trial, /) -> str | None:
        """Return why it cannot be tried; that takes a run of the example."""
        if is_compiled(trial):
            return "the method is compiled, which folds norms itself"
        if not may_have_pairs(trial.module):
            return "it has no batch norm behind a layer"
        if not find_pairs(trial):
            return "no layer gives its result to a batch norm and to nobody else"
        return None

    def apply(self, trial: Trial, /) -> Undo:
        """Fold the norms of the pairs that the example shows."""
        forwards: list[tuple[nn.Module, object]] = []
        for layer, norm in find_pairs(trial):
            last = prepared(layer).channels_last
            forwards += [(layer, Prepared(layer, norm=norm, channels_last=last))]
            forwards += [(norm, Absorbed(norm))]
        return put_forwards(forwards)
