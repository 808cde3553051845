"""Gait models as ONNX files, for sequences of any number and length."""

import pytest
import torch

from tests.models.gaits import inputs, new_tiny, relative

pytest.importorskip("onnxscript", reason="exporting needs onnxscript")
runtime = pytest.importorskip("onnxruntime", reason="running needs onnxruntime")


@pytest.mark.parametrize("name", ["p3d", "base", "skeleton", "x"])
@pytest.mark.filterwarnings("ignore")  # of the exporter about itself
def test_a_model_is_exported_for_any_length(name, tmp_path):
    model, file = new_tiny(name, layers=(1, 1, 1, 1)), tmp_path / "gait.onnx"
    example = inputs(name, (2, 6))
    axes = {0: torch.export.Dim("sequences"), 1: torch.export.Dim("frames")}
    torch.onnx.export(
        model,
        example,
        file,
        dynamic_shapes=tuple(axes for _ in example),
        dynamo=True,
        verbose=False,
    )

    session = runtime.InferenceSession(file)

    names = [given.name for given in session.get_inputs()]
    for shape in ((1, 1), (1, 2), (3, 9)):
        x = inputs(name, shape)
        (found,) = session.run(None, {k: v.numpy() for k, v in zip(names, x)})
        with torch.no_grad():
            assert relative(found, model(*x)) < 2e-6
