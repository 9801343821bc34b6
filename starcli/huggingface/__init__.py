"""Directories as Hugging Face's libraries write them: config.json beside weights, tokenizers and settings.

directory.py      which network one is of, and what it says of inputs; tasks.py: tasks of classes by their names
image_settings.py how images become inputs; classes.py: what a config says of classes
companions.py     what is written beside weights
adapters.py       changes of weights by LoRA; adapter_description.py: what an adapter says; alphas.py; adapter_means.py
"""
