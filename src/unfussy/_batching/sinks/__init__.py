"""
Results as files while they come: what was committed survives a kill.

A long run that is killed is started again, goes on where the last commit was, and
ends with the same bytes as a run that was left alone.
"""

from unfussy._batching.sinks.opening import open_sink
from unfussy._batching.sinks.sink import Sink

__all__ = ["Sink", "open_sink"]
