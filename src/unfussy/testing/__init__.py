"""
What tests of models need: devices without a GPU, memory that runs out, and laws.

None of it is imported by unfussy itself. Devices, simulated errors and awkward inputs
need nothing; the strategies, in `unfussy.testing.strategies`, need the extra
``testing`` (Hypothesis and pytest).
"""

from unfussy.testing._arena import Arena
from unfussy.testing._awkward import AWKWARD_INPUTS, AwkwardInput
from unfussy.testing._fake import FakeDevice, fake_device
from unfussy.testing._laws import (
    assert_batched_equals_whole,
    assert_compiled_equals_eager,
    assert_copies_agree,
    assert_modes_restored,
    assert_no_trace,
    assert_orders_agree,
    leaves_no_trace,
)
from unfussy.testing._oom import Attempt, SimulatedOom, simulate_oom
from unfussy.testing._oom_errors import (
    OOM_ERRORS,
    OOM_LOOKALIKES,
    OOM_SUSPECTS,
    ErrorText,
)
from unfussy.testing._toy import Copy, ToyDevice, toy_device

__all__ = [
    "AWKWARD_INPUTS",
    "OOM_ERRORS",
    "OOM_LOOKALIKES",
    "OOM_SUSPECTS",
    "Arena",
    "Attempt",
    "AwkwardInput",
    "Copy",
    "ErrorText",
    "FakeDevice",
    "SimulatedOom",
    "ToyDevice",
    "assert_batched_equals_whole",
    "assert_compiled_equals_eager",
    "assert_copies_agree",
    "assert_modes_restored",
    "assert_no_trace",
    "assert_orders_agree",
    "fake_device",
    "leaves_no_trace",
    "simulate_oom",
    "toy_device",
]
