"""Imported by a worker before its first task, in place of tableferry.tasks: the probe is in."""

from perf.simulation_probe import probe_worker

probe_worker()
