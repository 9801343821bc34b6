"""What docs/how-to/own-data.md shows works: its Python, and the data that its lines name."""

import re
import shlex
from pathlib import Path

from starcli.data.dataset import open_data
from starcli.data.text_options import TextOptions

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-data.md"


def test_the_page_is_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(python|sh)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    tasks = {}
    for kind, code in blocks:
        if kind == "python":
            exec(code, names)
            continue
        for line in code.splitlines():
            words = shlex.split(line)
            said = {words[place]: words[place + 1] for place in range(len(words) - 1) if words[place].startswith("--")}
            data = open_data(said["--data"], texts=TextOptions(label_column=said.get("--label-column")))
            tasks[said["--data"]] = data.task
    assert tasks == {
        "numbers.npz": "regression",
        "labels.npz": "multi-label",
        "table:houses.csv": "regression",
        "my_data.py:build": "classes",
        "wds:train-{0..1}.tar": "regression",
    }
