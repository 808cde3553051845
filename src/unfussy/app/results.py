"""What was made, on the page: one picture large, all of them small, files to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeAlias

from unfussy.app.made import Made, save, save_all
from unfussy.errors import UnfussyError

__all__ = ["Results"]

_Updates: TypeAlias = dict[Any, Any]


@dataclass(frozen=True)
class Results:
    """
    The parts of the page that show what was made.

    Attributes:
        notice: Why nothing was made.
        picture: One picture, large.
        caption: Its words.
        keep: A button to keep it.
        keep_all: A button to keep all, if there are several.
        gallery: All, if there are several; choosing one makes it the large one.
        details: What the large one was made of.
        made: All, as long as the page is open.
    """

    notice: Any
    picture: Any
    caption: Any
    keep: Any
    keep_all: Any
    gallery: Any
    details: Any
    made: Any

    @classmethod
    def lay_out(cls, gr: Any, notice: Any) -> Self:
        """Put them where the page is being laid out."""
        picture = _large_picture(gr)
        caption = _caption(gr)
        with gr.Row():
            keep = gr.DownloadButton("Download", interactive=False, elem_id="keep")
            keep_all = gr.DownloadButton(
                "Download all", visible=False, elem_id="keep_all"
            )
        gallery = _small_pictures(gr)
        with gr.Accordion("Metadata", open=False):
            details = gr.JSON(show_label=False, open=True, elem_id="details")
        made = gr.State([])
        return cls(notice, picture, caption, keep, keep_all, gallery, details, made)

    def parts(self) -> list[Any]:
        """Return all of them."""
        return [getattr(self, field.name) for field in fields(self)]

    # What follows yields once and does not return: Gradio copies the files, and only
    # then does their folder go.

    def answer(self, gr: Any, make: Callable[[], list[Made]]) -> Iterator[_Updates]:
        """Yield what changes when something is asked for: results, or a notice."""
        try:
            made = make()
        except UnfussyError as error:
            yield {self.notice: gr.update(value=_refusal(error), visible=True)}
            return
        with TemporaryDirectory() as folder:
            paths = [save(each, Path(folder)) for each in made]
            yield {
                self.notice: gr.update(value="", visible=False),
                **self._one(gr, made[0], paths[0]),
                **self._several(gr, made, paths),
            }

    def choose(self, gr: Any, chosen: Made) -> Iterator[_Updates]:
        """Yield what changes when another one is to be large."""
        with TemporaryDirectory() as folder:
            yield self._one(gr, chosen, save(chosen, Path(folder)))

    def _one(self, gr: Any, made: Made, path: Path) -> _Updates:
        return {
            self.picture: gr.update(value=path, alt_text=made.caption),
            self.caption: made.caption,
            self.keep: gr.update(value=path, interactive=True),
            self.details: made.metadata,
        }

    def _several(
        self, gr: Any, made: Sequence[Made], paths: Sequence[Path]
    ) -> _Updates:
        if len(made) == 1:
            hidden = gr.update(value=None, visible=False)
            return {self.gallery: hidden, self.keep_all: hidden, self.made: made}
        small = [(path, each.caption) for path, each in zip(paths, made)]
        archive = save_all(made, paths[0].parent)
        label = f"Download all {len(made)}"
        return {
            self.gallery: gr.update(value=small, visible=True, selected_index=None),
            self.keep_all: gr.update(value=archive, visible=True, label=label),
            self.made: made,
        }


def _large_picture(gr: Any) -> Any:
    return gr.Image(
        label="Picture",
        show_label=False,  # it would be on the picture
        height="min(30rem, 90vw)",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="picture",
    )


def _caption(gr: Any) -> Any:
    return gr.Textbox(
        label="Caption", interactive=False, buttons=["copy"], elem_id="caption"
    )


def _small_pictures(gr: Any) -> Any:
    return gr.Gallery(
        show_label=False,
        columns=4,
        allow_preview=False,
        visible=False,
        buttons=[],
        elem_id="gallery",
    )


def _refusal(error: UnfussyError) -> str:
    return f'<div role="alert">That did not work: {escape(str(error))}</div>'
