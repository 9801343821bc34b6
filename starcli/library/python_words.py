"""Messages of the command line in the words of Python: keywords for options, calls for lines that are to be typed."""

import json
import re
import shlex
from collections.abc import Mapping

from starcli.registry.tasks import TASKS

_KEYWORDS: Mapping[str, str] = {
    "--align none": "alignment=None",
    "--align weight": 'alignment="weight"',
    "--align": "alignment",
    "--arch-arg": "arch_args",
    "--average-buffers": "average_buffers=True",
    "--input": "input_shape",
    "--fast": "fast=True",
    "--force": "force=True",
    "--json": "--json",  # an option of commands whose files Python reads
    "--download": "download=True",
    "--normalise none": 'normalise="none"',
    "--unproved": "unproved=True",
    **{f"--task {name}": f'task="{name}"' for name in TASKS},
}
"""What Python calls options that have another name there; all others change their dashes alone."""

_SENTENCES: Mapping[str, str] = {
    "(starcli align)": "(sc.align)",
    "starcli spec explain says why": "sc.derive_and_prove(module, inputs).frozen says why",
    "the flags: ": "the keywords: ",
    ", whose first size is the batch": ", without the batch",
    "its first size is the batch, so that ": "",
    "only where the command line names it": "only where the call names it",
    "bare weights need --arch too; starcli convert says both once and for all": (
        'data="digits", say, or data=(inputs, labels) names them; weights without a network need arch too'
    ),
}
"""What is done otherwise in Python."""

_OF_CONVERT = " of starcli convert "

_OPTION = re.compile(
    rf"--(?:align (?:none|weight)|normalise none|task (?:{'|'.join(TASKS)}))\b"
    r"|(?<![\w-])--[a-z](?:[a-z-]*[a-z])?(?![\w-])"
)


def in_python(text: str) -> str:
    """A message of the command line, with keywords in the place of options.

    >>> in_python("a.safetensors: exists; --force overwrites it")
    'a.safetensors: exists; force=True overwrites it'
    >>> in_python("give --arch and --data-dir")
    'give arch and data_dir'
    >>> in_python("--task multi-label takes 0 and 1")
    'task="multi-label" takes 0 and 1'
    >>> in_python("--input 1,8,8 is taken, whose first size is the batch")
    'input_shape=(8, 8) is taken, without the batch'
    >>> in_python("for example --input 1,3,32,32, whose first size is the batch")
    'for example input_shape=(3, 32, 32), without the batch'
    >>> in_python("--key ema of starcli convert chooses them")
    "key='ema' chooses them"
    >>> in_python("the first one: starcli convert x.pt --key ema --ignore 'head.*' --plain -o x.safetensors")
    'the first one: sc.load("x.pt", key="ema", ignore=["head.*"])'
    """
    if _OF_CONVERT in text:  # `sc.load` has what other commands do not
        text = re.sub(r"--key (?!of )([\w.]+)", r"key='\1'", text).replace(_OF_CONVERT, " ")
    for ours, theirs in _SENTENCES.items():
        text = text.replace(ours, theirs)
    text = re.sub(r"--input \d+,(\d+(?:,\d+)*)", _input_shape, text)
    text = re.sub(r"starcli convert (.+) --plain -o .+$", _load_call, text)
    text = re.sub(r"starcli convert (.+) --base BASE -o OUT", r'sc.load("\1", base=BASE)', text)
    text = re.sub(r"starcli convert --key (\S+) --plain", r'sc.load(path, key="\1")', text)
    if "starcli convert " in text:  # a line for the shell
        return text
    return _OPTION.sub(lambda found: _KEYWORDS.get(found[0], found[0][2:].replace("-", "_")), text)


def _input_shape(sizes: re.Match[str]) -> str:
    """The keyword that says what `--input` does, which counts the batch."""
    return f"input_shape={tuple(map(int, sizes[1].split(',')))}"


def _load_call(line: re.Match[str]) -> str:
    """The call that reads what a line of `starcli convert --plain` writes."""
    source, *words = shlex.split(line[1])
    key = words[words.index("--key") + 1] if "--key" in words else None
    patterns = words[words.index("--ignore") + 1 :] if "--ignore" in words else []
    said = [f"key={json.dumps(key)}"] * (key is not None) + [f"ignore={json.dumps(patterns)}"] * bool(patterns)
    return f"sc.load({', '.join([json.dumps(source), *said])})"
