"""Repositories of the Hugging Face Hub, behind the extra ``weights``."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

__all__ = ["fetch"]


def fetch(repository: str, patterns: list[str], /) -> Path:
    """Return a local folder with the files of *repository* that match *patterns*."""
    return Path(snapshot_download(repository, allow_patterns=patterns))
