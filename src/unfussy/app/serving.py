"""Serving the page on this machine, for browsers on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module
from socket import create_server
from threading import Event
from types import TracebackType
from typing import Any, Final, Self

from unfussy.app.loops import call_apart
from unfussy.app.page import Blocks, build_app
from unfussy.errors import InputValueError
from unfussy.models.multimodal import MultimodalGenerator

__all__ = ["Serving", "launch"]

_LOCAL: Final = "127.0.0.1"

_ALONE: Final = {
    "enable_monitoring": False,
    "footer_links": [],
    "inline": False,
    "mcp_server": False,
    "prevent_thread_lock": True,
    "pwa": False,
    "quiet": True,
    "run_history": False,
    "share": False,
    "show_error": True,
    "ssr_mode": False,
}
"""What Gradio would do besides, some of it because of environment variables."""

_CSS: Final = """
#picture img { width: 100%; height: 100%; object-fit: contain; }
#caption textarea { font-size: 1.25rem; line-height: 1.5; }
#trial .html-container, #notice .html-container { padding: 0; }
#gallery .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr));
  grid-template-rows: none;
}
#gallery .grid-wrap { min-height: 0; max-height: none; }
[role=note], [role=alert] {
  padding: 0.75rem 1rem; border-radius: 8px; color: #1f2937; overflow-wrap: anywhere;
}
[role=note] { background: #fef3c7; border: 1px solid #d97706; }
[role=alert] { background: #fee2e2; border: 1px solid #b91c1c; }
[role=note] strong { color: inherit; }
"""


@dataclass(frozen=True)
class Serving:
    """
    A page that is being served; as a context manager, it stops at the end.

    Attributes:
        url: Where.
        page: The ``gradio.Blocks``.
    """

    url: str
    page: Blocks

    def wait(self) -> None:
        """Serve until the program is interrupted, and stop."""
        try:
            Event().wait()
        except KeyboardInterrupt:
            self.close()

    def close(self) -> None:
        """Stop."""
        self.page.close(verbose=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def launch(
    generator: MultimodalGenerator,
    /,
    *,
    host: str = _LOCAL,
    port: int = 0,
    opens: bool = False,
) -> Serving:
    """
    Serve the page of *generator* in the background, and return where.

    Nothing goes out to the network: no link to share, no statistics, no fonts.

    Args:
        generator: Makes the pictures.
        host: Whom to listen to: by default this machine alone. Whoever can reach
            another address can use the page, without a password.
        port: Where to listen; 0 for any port that is free.
        opens: Whether to open it in the browser.

    Raises:
        InputValueError: If it cannot be served there.
        MissingExtraError: Without Gradio (extra ``app``).
    """
    page = build_app(generator)
    serve = partial(
        page.launch,
        server_name=host,
        server_port=_checked_port(host, port),
        inbrowser=opens,
        theme=_theme(),
        css=_CSS,
        **_ALONE,
    )
    call_apart(serve)
    return Serving(page.local_url, page)


def _checked_port(host: str, port: int) -> int:
    """Return *port* if one can listen there, or one that is free if it is 0."""
    try:
        with create_server((host, port)) as server:
            return int(server.getsockname()[1])
    except OSError as error:
        raise InputValueError(
            f"cannot listen at {host}, port {port} ({error}); is it taken? "
            "Port 0 is any that is free, and 127.0.0.1 is this machine"
        ) from error


def _theme() -> Any:
    """Return the look; its letters are those of the machine, not of a server."""
    themes = import_module("gradio.themes")
    plain = themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    return plain.set(block_info_text_color="*neutral_500")
