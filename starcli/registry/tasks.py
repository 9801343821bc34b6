"""Tasks by name, and the metrics by which networks are judged."""

from collections.abc import Mapping
from dataclasses import dataclass

from starcli.registry.entry import Entry

CLASSES, NEXT_TOKEN, MASKED_TOKEN = "classes", "next-token", "masked-token"
REGRESSION, MULTI_LABEL = "regression", "multi-label"
"""Names of tasks."""

OF_COLUMNS = (REGRESSION, MULTI_LABEL)
"""Tasks of which columns are predicted, of numbers or of 0 and 1."""

OF_TOKENS = (NEXT_TOKEN, MASKED_TOKEN)
"""Those that predict a token at places of a text: labels are (N, length), and outputs (N, length, vocabulary)."""

TASKS: Mapping[str, Entry] = {
    CLASSES: Entry("starcli.evaluation.tasks.classification:CLASSIFICATION", "one class of an example"),
    NEXT_TOKEN: Entry("starcli.evaluation.tasks.classification:CONTINUATION", "the token after each token of a text"),
    MASKED_TOKEN: Entry("starcli.evaluation.tasks.classification:MASKED", "the tokens of a text that are masked"),
    REGRESSION: Entry("starcli.evaluation.tasks.regression:REGRESSION_TASK", "numbers, by their mean squared error"),
    MULTI_LABEL: Entry("starcli.evaluation.tasks.multi_label:MULTI_LABEL_TASK", "any number of labels of an example"),
}
"""`--task`: what data are for, as a `starcli.evaluation.tasks.task.Task`."""

LOSS_KINDS: Mapping[str, str] = {
    REGRESSION: "mean squared error",
    MULTI_LABEL: "binary cross-entropy, mean over labels (nats)",
}
"""What losses are, where it is not cross-entropy in nats."""


@dataclass(frozen=True)
class Metric:
    """A metric as people read it: its name, and whether it is a share, which is written in per cent, or falls."""

    heading: str
    share: bool = False
    falls: bool = False
    """Whether less of it is better."""

    @property
    def worsening(self) -> str:
        """How it gets worse, in a word."""
        return "rise" if self.falls else "drop"

    @property
    def factor(self) -> int:
        """By what figures multiply it."""
        return 100 if self.share else 1

    @property
    def title(self) -> str:
        """Heading and unit, for an axis."""
        return f"{self.heading} (%)" if self.share else self.heading


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("accuracy", share=True),
    "r2": Metric("R²"),
    "rmse": Metric("RMSE", falls=True),
    "micro_f1": Metric("micro F1", share=True),
    "macro_f1": Metric("macro F1", share=True),
}
"""What is measured beside the loss, along lines too, by the keys of results: of classes, of numbers, of labels."""
