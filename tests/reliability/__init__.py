"""Trials that kill, fill and forge: `python -m tests.reliability` runs all of them and writes tests/RELIABILITY.md.

The test suite runs samples of the same trials (test_hostile_files.py, test_fuzz.py, test_samples.py).
"""
