"""What a config says of the classes of a classifier: taken out where it gets a new head, and put in for that."""

from collections.abc import Sequence
from dataclasses import replace

from starcli.huggingface.directory import PROBLEM_TYPES, Directory
from starcli.registry.tasks import CLASSES

_OF_CLASSES = ("id2label", "label2id", "num_labels", "problem_type")
"""Keys of a config of `transformers`."""
_OF_TIMM = ("num_classes", "label_names", "label_descriptions")
"""Keys of a config of timm, beside those in its tables."""


def without_classes(directory: Directory, name: str | None = None) -> Directory:
    """A directory that says nothing of classes, its network that of the class `name` of `transformers`, if given.

    >>> from pathlib import Path
    >>> found = Directory(Path("bert"), {"architectures": ["BertModel"], "id2label": {"0": "a", "1": "b", "2": "c"}})
    >>> without_classes(found, "BertForSequenceClassification").config
    {'architectures': ['BertForSequenceClassification']}
    """
    if directory.is_timm:
        kept = {key: value for key, value in directory.config.items() if key not in _OF_TIMM}
        for table in ("model_args", "pretrained_cfg"):
            if directory.config.get(table):
                kept[table] = {key: value for key, value in directory.config[table].items() if key not in _OF_TIMM}
        return replace(directory, config=kept)
    kept = {key: value for key, value in directory.config.items() if key not in _OF_CLASSES}
    return replace(directory, config={**kept, **({"architectures": [name]} if name else {})})


def with_classes(directory: Directory, count: int, names: Sequence[str], task: str = CLASSES) -> Directory:
    """A directory of a network of `count` outputs of a task, which have these names unless there are others than that.

    Where they have none, the numbers stand for them.

    >>> from pathlib import Path
    >>> with_classes(Directory(Path("bert"), {"architectures": ["A"]}), 2, ["bad", "good"]).class_names
    ('bad', 'good')
    """
    config, names = dict(directory.config), names if len(names) == count else ()
    if directory.is_timm:
        config["num_classes"] = count
        if config.get("pretrained_cfg"):
            config["pretrained_cfg"] = {**config["pretrained_cfg"], "num_classes": count}
        return replace(directory, config=config | ({"label_names": list(names)} if names else {}))
    names = names or [f"LABEL_{number}" for number in range(count)]
    if task in PROBLEM_TYPES:
        config["problem_type"] = PROBLEM_TYPES[task]
    config["id2label"] = {str(number): name for number, name in enumerate(names)}
    config["label2id"] = {name: number for number, name in enumerate(names)}
    return replace(directory, config=config)
