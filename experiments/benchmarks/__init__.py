"""Measurements beside the peers: speed, quality, scaling, imports. Run with ``python -m experiments.benchmarks``."""

from experiments.benchmarks.processes import Plan
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.workload import simulate_workload, write_workload_store

__all__ = ["Goal", "Plan", "Row", "simulate_workload", "write_workload_store"]
