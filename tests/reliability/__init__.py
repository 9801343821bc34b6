"""Trials that kill, fill and forge: `python -m tests.reliability` runs all of them and writes tests/RELIABILITY.md.

The test suite runs samples of the same trials (tests/test_hostile_*.py, test_resume.py, test_audit.py).
"""
