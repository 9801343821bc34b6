"""YAML that is no plain YAML, and archspecs that would take for ever."""

# ruff: noqa: E501 - a case is one line

from collections.abc import Callable, Mapping

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
TAGS = ("!!python/object/apply:os.system ['touch {marker}']", "!!python/name:os.system ''", "!!python/module:os ''",
        "!!python/object/new:os.system ['touch {marker}']", "!!binary aGVsbG8=", "!!timestamp 2001-01-01", "!x y")  # fmt: skip
HEAD = "format: 1\ntensors:\n"

YAML: Mapping[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "aliases that explode": lambda: BOMB.encode(),
    "an alias to itself": lambda: b"a: &a [*a]\n",
    **{f"tag {tag.split()[0]}": (lambda tag=tag: f"a: {tag}\n".encode()) for tag in TAGS},
    "a million lines": lambda: b"".join(b"k%d: v\n" % i for i in range(1_000_000)),
    "a million empty lines": lambda: b"\n" * 1_000_000,
    "a million list items": lambda: b"a:\n" + b"- x\n" * 900_000,
    "300,000 lines of tensors": lambda: HEAD.encode() + b"".join(b"  t%d: [a]\n" % i for i in range(190_000)),
    "one line of 4 MB": lambda: HEAD.encode() + b"  a: [" + b"x" * 4_000_000 + b"]\n",
    "one line of 100 MB": lambda: b"a: " + b"x" * 100_000_000,
    "nested lists": lambda: b"a: " + b"[" * 100_000,
    "nested maps": lambda: b"{a: " * 100_000,
    "nested by indentation": lambda: b"".join(b" " * i + b"a:\n" for i in range(2_500)),
    "a key that repeats": lambda: b"a: 1\na: 2\n",
    "a key that is a list": lambda: b"? [a]\n: b\n",
    "a merge key": lambda: b"<<: {a: b}\n",
    "two documents": lambda: b"a: 1\n---\nb: 2\n",
    "no text": lambda: bytes(range(256)),
    "UTF-16": lambda: "a: 1\n".encode("utf-16"),
    "lone surrogates": lambda: b'a: "\\ud800"\n',
    "null bytes": lambda: b"a: \0\n",
    "a directive": lambda: b"%YAML 9.9\n---\na: 1\n",
    "a huge number": lambda: b"epochs: " + b"9" * 5000 + b"\n",
    "an infinite number": lambda: b"lr: .inf\nepochs: inf\n",
    "a colon storm": lambda: b"a:" * 30_000,
    "quotes that never close": lambda: b'a: "' + b"x\\" * 15_000,
    "comments without end": lambda: b"#" * 60_000,
    "anchors without end": lambda: b"&" + b"a" * 60_000 + b" x",
    "block scalars": lambda: b"a: |\n" + b"  x\n" * 15_000,
}


SPECS: Mapping[str, Callable[[], bytes]] = {
    "wildcards side by side": lambda: (HEAD + "  'a*****************************b': [x]\n").encode(),
    "runs that would backtrack": lambda: (HEAD + "  '*.*.*.*.*.*.*.*.*.*': [x]\n" * 1).encode(),
    "digits that would backtrack": lambda: (HEAD + "  '{a}{b}{c}{d}{e}': [x]\n").encode(),
    "50,000 patterns": lambda: (
        HEAD + "".join(f"  '{{a}}.{{b}}.{{c}}.{{d:name}}{i}': [x]\n" for i in range(50_000))
    ).encode(),
    "1,900 patterns for each tensor": lambda: (
        HEAD + "".join(f"  '{{v:name}}.{{i}}.w{{x{i}:name}}': [_]\n" for i in range(1900))
    ).encode(),
    "a buffer pattern of 100,000 stars": lambda: (HEAD + "  '*.{l}.*': []\nbuffers: ['" + "*a" * 50_000 + "']\n").encode(),
    "100,000 buffer patterns": lambda: (
        HEAD + "  '*.{l}.*': []\nbuffers: [" + ", ".join(f"'*a{i}*b'" for i in range(90_000)) + "]\n"
    ).encode(),
    "a range of a billion": lambda: (HEAD + "  '*.{l}.*': ['g.{0:999999999}']\n").encode(),
    "ranges in the thousands": lambda: (
        HEAD + "  '*.{l}.*': ['" + " + ".join(["g.{0:10000}"] * 1500) + "']\n"
    ).encode(),
    "ranges multiplied": lambda: (
        HEAD + "  '*.{l}.*': ['(" + " ".join(["(g.{0:10000})"] * 1200) + ")']\n"
    ).encode(),
    "sums of a thousand terms": lambda: (HEAD + "  '*.{l}.*': ['g.{" + "l+" * 99 + "l}']\n").encode(),
    "an expression of 20,000 signs": lambda: (HEAD + "  '*.{l}.*': ['" + "a+" * 9_999 + "a']\n").encode(),
    "an expression too long": lambda: (HEAD + "  '*.{l}.*': ['" + "a+" * 99_999 + "a']\n").encode(),
    "parentheses too deep": lambda: (HEAD + "  '*.{l}.*': ['" + "(" * 9_000 + "a" + ")" * 9_000 + "']\n").encode(),
    "products of sums": lambda: (
        HEAD + "  '*.{l}.*': ['(" + " ".join(f"(a{i} + b{i})" for i in range(700)) + ")']\n"
    ).encode(),
    "unknowns that depend on each other": lambda: (
        HEAD + "  '*.{l}.bias': ['" + " + ".join(f"(a{i} b{i})" for i in range(1200)) + "']\n"
        "  '*.{l}.weight': ['" + " + ".join(f"(b{i} a{i})" for i in range(1200)) + "']\n"
    ).encode(),
    "a huge size": lambda: ("format: 1\ngroups:\n  a: {size: 999999999999}\n" + HEAD[10:] + "  '*.{l}.*': [a]\n").encode(),
    "groups within each other": lambda: (
        "format: 1\ngroups:\n  a: {within: b}\n  b: {within: a}\n" + HEAD[10:] + "  '*.{l}.*': ['(a b)']\n"
    ).encode(),
    "names of 5,000 digits": lambda: (HEAD + "  '*.{l}.*': ['g" + "1" * 5000 + "']\n").encode(),
    "a size that is an expression": lambda: (
        "format: 1\ngroups:\n  a: {size: '(b c)'}\n" + HEAD[10:] + "  '*.{l}.*': [a]\n"
    ).encode(),
}  # fmt: skip
