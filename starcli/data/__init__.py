"""Data sets by name: loading, splitting, batches, augmentation."""
