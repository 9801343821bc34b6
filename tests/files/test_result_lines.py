"""Results that were saved, one object a line or as jq lays them out."""

import json

import pytest

from starcli.errors import StarcliError
from starcli.files.result_lines import read_result_lines

ROWS = [{"schema": 1, "type": "eval", "model": name, "nll": number} for name, number in (("ä", 0.5), ("b\n{", 1e-9))]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n  "])
def test_objects_may_be_laid_out_in_any_way(indent, end, tmp_path):
    """What `jq -c .`, `jq .` and `jq -s .` make of saved lines are the same rows."""
    file = tmp_path / "x.jsonl"
    for laid_out in (ROWS, [ROWS], [ROWS[:1], ROWS[1]]):
        pieces = [json.dumps(piece, indent=indent, ensure_ascii=False) for piece in laid_out]
        file.write_text("".join(piece + (end or " ") for piece in pieces))
        assert read_result_lines(file) == ROWS


def test_problems_are_named_by_the_line_where_an_object_begins(tmp_path):
    file, [first, second] = tmp_path / "x.json", [json.dumps(row, indent=2) for row in ROWS]
    lines = len(first.splitlines())
    for content, words in (
        (first + "\n" + second[:-9], f"line {lines + 1} is not JSON"),
        (first + '\n\n{"type": "eval"}', f"line {lines + 2} is not a result of starcli: it has no schema"),
        (f"[{first},\n 7]", "line 1 is not a result of starcli"),
        (first + '\n{"schema": 1, "ty', rf"its last line is cut off \(line {lines + 1}\)"),
    ):
        file.write_text(content)
        with pytest.raises(StarcliError, match=words):
            read_result_lines(file)
