"""Fusing models by other ways than a star: means, soups, distillation, merges; a fused model beside its sources."""
