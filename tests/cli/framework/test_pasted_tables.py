"""LaTeX and Markdown."""

import re
import shutil
import subprocess

import pytest

from starcli.cli.framework.columns import Column, TextTable
from starcli.cli.framework.pasted_tables import latex_table, markdown_block, markdown_table

COLUMNS = (
    Column("name", "barriers", "name"),
    Column("mean", "test", ".2f", main=True),
    Column("std", "±", ".2f"),
    Column("share", "accuracy", ".1%"),
    Column("share_std", "±", ".1%"),
    Column("gain", "gain", ".2f"),
    Column("curve", "curve", "spark"),
    Column("how", "alignment", common=True),
)
ROW = {
    "name": "a_1|b.safetensors", "mean": 0.12, "std": 0.01, "share": 0.5, "share_std": 0.02, "gain": -0.5,
    "curve": [0, 1], "how": "weight, 10 restarts",
}  # fmt: skip
ROWS = [ROW, {**ROW, "name": "b", "std": None, "mean": 0.1, "gain": 1.0}]


def test_latex():
    assert latex_table(TextTable.of(COLUMNS, ROWS)).splitlines() == [
        "% alignment: weight, 10 restarts",
        "% not set here: curve; --format json has all",
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"barriers & test & accuracy & gain \\",
        r"\midrule",
        r"a\_1\textbar{}b & $0.12 \pm 0.01$ & $50.0 \pm 2.0\%$ & $-0.50$ \\",
        r"b & 0.10 & $50.0 \pm 2.0\%$ & 1.00 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_markdown():
    assert markdown_table(TextTable.of(COLUMNS, ROWS)).splitlines() == [
        "| barriers | test | accuracy | gain | curve |",
        "| --- | ---: | ---: | ---: | --- |",
        r"| a\_1\|b | 0.12 ± 0.01 | 50.0% ± 2.0% | -0.50 | ▁█ |",
        r"| b | 0.10 | 50.0% ± 2.0% | 1.00 | ▁█ |",
        "",
        "alignment: weight, 10 restarts",
    ]


@pytest.mark.parametrize("sign", [*"\\&%$#_{}~^<>|", "–", "±"])
def test_no_sign_of_latex_is_left_alone(sign):
    [row] = [line for line in latex_table(TextTable.of(COLUMNS[:2], [{"name": f"a{sign}b", "mean": 1.0}])).splitlines()
             if line.startswith("a")]  # fmt: skip
    cell = row.removesuffix(r" & 1.00 \\")
    assert cell not in (f"a{sign}b", row)
    bare = re.sub(r"\\(text\w+\{\}|pm|[&%$#_{}])|--|\$\\pm\$", "", cell)
    assert bare in ("ab", "a$$b")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_takes_it(tmp_path):
    rows = [{**ROW, "name": "\\&%$#_{}~^<>|–±"}, *ROWS]
    lines = [r"\documentclass{article}\usepackage{booktabs}\begin{document}", latex_table(TextTable.of(COLUMNS, rows)),
             r"\end{document}"]  # fmt: skip
    (tmp_path / "a.tex").write_text("\n".join(lines))
    subprocess.run(["pdflatex", "-halt-on-error", "a.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_markdown_leaves_other_text_alone():
    assert markdown_block("a\n└── b") == "```text\na\n└── b\n```"
