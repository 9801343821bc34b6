"""A directory with small data of two scales."""

import numpy as np
import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for name, scale in (("a.npz", 1.0), ("b.npz", 3.0)):
        inputs, labels = generator.normal(0, scale, (30, 5)).astype(np.float32), np.arange(30) % 3
        np.savez(name, train_images=inputs, train_labels=labels, test_images=inputs[:12], test_labels=labels[:12])
    return tmp_path
