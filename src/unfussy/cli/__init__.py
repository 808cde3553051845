"""The command ``unfussy``; it needs the extra ``cli``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say what is missing for it."""
    try:
        from unfussy.cli.app import app  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "click"}:
            raise
        sys.exit(f"unfussy: {error.name} is not installed: pip install 'unfussy[cli]'")
    app()
