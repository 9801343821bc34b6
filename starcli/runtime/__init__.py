"""Processes, threads, memory, devices, progress: what a computation runs on."""
