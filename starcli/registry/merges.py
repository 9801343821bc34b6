"""Ways to merge models by their weights alone, by name: each also a method of `fuse`."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

MERGES: Mapping[str, Entry] = {
    "linear": Entry("starcli.merging.linear:LINEAR", "weighted mean"),
    "slerp": Entry("starcli.merging.linear:SLERP", "point on the arc between two models"),
    "karcher": Entry("starcli.merging.linear:KARCHER", "mean on a sphere, of several models"),
    "task-arithmetic": Entry("starcli.merging.task_vectors:TASK_ARITHMETIC", "base and the sum of what each changed"),
    "ties": Entry("starcli.merging.task_vectors:TIES", "base and the mean of the largest changes of one sign"),
    "dare-linear": Entry("starcli.merging.task_vectors:DARE_LINEAR", "base and the sum of random changes, rescaled"),
    "dare-ties": Entry("starcli.merging.task_vectors:DARE_TIES", "base and random changes of one sign, rescaled"),
    "della": Entry("starcli.merging.task_vectors:DELLA", "base and random changes of one sign, large ones more often"),
    "della-linear": Entry(
        "starcli.merging.task_vectors:DELLA_LINEAR", "base and the sum of random changes, large ones more often"
    ),
    "sce": Entry(
        "starcli.merging.task_vectors:SCE", "base and changes where sources differ, weighted by their squares"
    ),
    "breadcrumbs": Entry(
        "starcli.merging.task_vectors:BREADCRUMBS", "base and the sum of changes, without small ones and outliers"
    ),
    "model-stock": Entry(
        "starcli.merging.task_vectors:MODEL_STOCK", "between base and mean, as the angles of changes say"
    ),
    "tsv": Entry("starcli.merging.task_matrices:TSV", "base and what each changed most, along orthogonal directions"),
    "iso-c": Entry("starcli.merging.task_matrices:ISO_C", "base and the sum of changes, as large in all directions"),
}
"""Values of `starcli.merging.method.MergeMethod`."""
