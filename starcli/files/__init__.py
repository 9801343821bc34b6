"""Reading and writing files: atomically, under locks, and with distrust of what strangers wrote.

write.py           all writing; begin here. lock.py, leftovers.py, links.py: what may be in its way
state.py           saved states of long runs; cache.py: results between runs (cache_contents.py)
names.py           names on the command line; formats.py: which format a file has; formats_of_others.py: those not read
safetensors.py     reading; tensor_layout.py: headers; slices.py, lazy_tensors.py: without holding all; shards.py,
                   write_shards.py: in several files; other_weights.py: of another model beside them
pickles.py         PyTorch's own files, read by unpickler.py without running code: torch_tensors.py, pickled_values.py
metrics_log.py     the log of a run; run_logs/: for other programs; result_lines.py: reads saved results
strict_json.py, yaml_values.py, number_words.py     text from strangers
"""
