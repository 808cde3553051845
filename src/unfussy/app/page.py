"""
The page, laid out with Gradio.

Fields on the left, results on the right; on a phone, one below the other. Nothing of
it comes from the network, and nothing is told to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from secrets import randbelow
from typing import Any, Final, TypeAlias

from unfussy.app.loops import call_apart
from unfussy.app.made import Made, from_one_seed, on_the_way
from unfussy.app.results import Results
from unfussy.errors import MissingExtraError
from unfussy.models.multimodal import MultimodalGenerator
from unfussy.models.multimodal.seeds import LARGEST

__all__ = ["Blocks", "build_app", "load_gradio"]

Blocks: TypeAlias = Any
"""A page of Gradio, ``gradio.Blocks``; an extra, whose types are not always there."""

_Form: TypeAlias = tuple[list[Any], Callable[..., list[Made]], list[Any]]

_MOST: Final = 32  # pictures at once
_HOUR: Final = 60 * 60
_TITLE: Final = "Pictures with captions"
_TRIAL: Final = (
    '<div role="note"><strong>This is a trial.</strong> The weights are random and the '
    "words made up: pictures and captions mean nothing.</div>"
)
_TO_PICTURE: Final = """() => {
    const told = document.querySelector("#notice [role=alert]");
    (told ?? document.querySelector("#picture")).scrollIntoView({block: "nearest"});
}"""


def build_app(generator: MultimodalGenerator, /) -> Blocks:
    """
    Return the page of *generator*, a ``gradio.Blocks`` that is not served yet.

    `launch` serves it; ``gradio.mount_gradio_app`` puts it into a server of your own.
    Several people can use it at a time: one waits for the other.

    Args:
        generator: Makes the pictures.

    Raises:
        MissingExtraError: Without Gradio (extra ``app``).
    """
    gr = load_gradio()
    return call_apart(lambda: _lay_out(gr, generator))


def _lay_out(gr: Any, generator: MultimodalGenerator) -> Blocks:
    forgets = (_HOUR, 24 * _HOUR)  # every hour, the files of yesterday
    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=forgets) as page:
        gr.Markdown(f"# {_TITLE}")
        if generator.is_trial:
            gr.HTML(_TRIAL, elem_id="trial")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                forms = _lay_out_forms(gr)
                notice = gr.HTML(visible=False, elem_id="notice")
                temperature = _temperature(gr, generator.rules.temperature)
            with gr.Column(scale=3, min_width=300):
                results = Results.lay_out(gr, notice)
        for triggers, make, fields in forms:
            asked = partial(make, generator)
            _connect(gr, triggers, asked, [*fields, temperature], results)
        _let_choose(gr, results)
    return page


def load_gradio() -> Any:
    """
    Import Gradio, which takes seconds.

    Raises:
        MissingExtraError: Without Gradio (extra ``app``).
    """
    try:
        return import_module("gradio")
    except ImportError as error:
        raise MissingExtraError("gradio", "app") from error


def _lay_out_forms(gr: Any) -> list[_Form]:
    """Lay the fields out, and return what starts what with which of them."""
    with gr.Tab("From a seed"):
        seed = gr.Number(42, label="Seed", info=f"0 to {LARGEST}", elem_id="seed")
        random = gr.Button("Random seed", size="sm", elem_id="random")
        count = gr.Slider(
            1,
            _MOST,
            1,
            step=1,
            label="How many",
            info="Counting up from the seed",
            elem_id="count",
        )
        make = gr.Button("Generate", variant="primary", elem_id="generate")
    with gr.Tab("Between two seeds"):
        with gr.Row():
            begin = gr.Number(7, label="From seed", min_width=120, elem_id="begin")
            end = gr.Number(42, label="To seed", min_width=120, elem_id="end")
        steps = gr.Slider(
            2, _MOST, 6, step=1, label="How many", info="Both ends included"
        )
        go = gr.Button("Generate", variant="primary", elem_id="go")
    random.click(lambda: randbelow(LARGEST + 1), None, seed, api_visibility="private")
    return [
        ([make.click, seed.submit], from_one_seed, [seed, count]),
        ([go.click], on_the_way, [begin, end, steps]),
    ]


def _temperature(gr: Any, usual: float) -> Any:
    return gr.Slider(
        0,
        max(2.0, usual),
        usual,
        step=0.05,
        label="Temperature of captions",
        info="Less is less surprising; 0 takes the best word each time",
        elem_id="temperature",
    )


def _connect(
    gr: Any,
    triggers: list[Any],
    make: Callable[..., list[Made]],
    fields: list[Any],
    results: Results,
) -> None:
    def answer(*values: Any) -> Iterator[dict[Any, Any]]:
        yield from results.answer(gr, partial(make, *values))

    gr.on(
        triggers,
        answer,
        fields,
        results.parts(),
        show_progress_on=results.picture,
        concurrency_id="generator",
        concurrency_limit=1,
        api_visibility="private",
    ).then(None, js=_TO_PICTURE)


def _let_choose(gr: Any, results: Results) -> None:
    def choose(made: list[Made], choice: Any) -> Iterator[dict[Any, Any]]:
        yield from results.choose(gr, made[choice.index])

    # Gradio finds by its annotation which argument is the choice, and the annotations
    # of this module are text that it cannot read.
    choose.__annotations__ = {"choice": gr.SelectData}
    results.gallery.select(
        choose,
        results.made,
        results.parts(),
        show_progress="hidden",
        api_visibility="private",
    )
