"""Fusing models by other ways than a star: means, soups, distillation, merges; a fused model beside its sources.

fusing.py            what a fusion is told, and the means; begin here. unused_settings.py: what a method refuses
distillation.py      a student of the sources, or of a star domain
merge_by_weights.py  methods of `merging/` on models of one workspace; merge_files.py: on files that say no data
merged_tensors.py    how both make a state dict tensor by tensor; trimming.py: what has to be known of all tensors first
merge_by_data.py     Fisher and regression means; input_products.py: what the latter read
fusion_report.py     the table of a fused model; unrelated_files.py: files that are no fine-tunings of one model
"""
