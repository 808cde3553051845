"""
The same work done three ways: a plain loop, in batches, and optimised.

`run_comprehensive_benchmark` measures a family, a model or a method on this machine.
"""

from unfussy.bench.comprehensive import run_comprehensive_benchmark
from unfussy.bench.families import BenchmarkFamily, register_family
from unfussy.bench.results import save_results, table_of
from unfussy.bench.schema import SCHEMA, check_results

__all__ = [
    "SCHEMA",
    "BenchmarkFamily",
    "check_results",
    "register_family",
    "run_comprehensive_benchmark",
    "save_results",
    "table_of",
]
