"""Sections of models: what files there are, how well they predict."""

from collections.abc import Iterator, Sequence
from typing import Any

from starcli.checkpoints.lineage import Description
from starcli.errors import number_of
from starcli.plots.parts import average_words, model_name
from starcli.plots.rows import DrawnCalibration, DrawnModel, DrawnPosterior, parse_rows
from starcli.registry.splits import SPLITS
from starcli.registry.tasks import METRICS
from starcli.reports.checked_rows import without_figure
from starcli.reports.curve_chart import ChartCurve, Labels, curve_chart
from starcli.reports.drawing import figure
from starcli.reports.findings import Findings, SavedRun, file_kind
from starcli.reports.html import Markup, element
from starcli.reports.lineage import merged, nodes_of
from starcli.reports.lineage_graph import lineage_graph
from starcli.reports.reliability_chart import RELIABILITY_WORDS, reliability_chart
from starcli.reports.section import Section, gallery, run_block, section_of, small_gallery
from starcli.reports.tables import TableColumn, table

MOST_NODES = 200
"""Largest number of nodes of a lineage that is drawn; nobody could read more."""

AVERAGE_METRICS = {
    "nll": "loss (nats)",
    "loss": "loss",
    **{name: each.title for name, each in METRICS.items()},
    "ece": "calibration error (ECE)",
    "scaled.nll": "loss at temperature (nats)",
    "scaled.ece": "calibration error (ECE) at temperature",
}
"""What is drawn of averages over their number of models, as far as their task has it."""

POSTERIOR_SLOTS = {"star": 1, "ensemble": 0, "single": 6}
"""Colours of averages."""


def checkpoint_section(found: Findings) -> Section | None:
    """Files of models, permutations and elements, and what they were made from."""
    if not found.checkpoints:
        return None
    nodes = merged(nodes_of(found.checkpoints))
    graph = lineage_graph(nodes) if len(nodes) <= MOST_NODES else None
    words = "What was made from what; a dashed box is a file that is not here"
    drawn = figure(graph, words, "lineage") if graph else None
    rows = [_file_row(name, each) for name, each in found.checkpoints]
    return section_of("files", "Models", drawn, table(rows, _FILE_COLUMNS, "checkpoints"))


RELIABILITY_NOTE = element("p", RELIABILITY_WORDS, class_="note")

METRIC_FORMS = {True: "percent", False: "loss"}
"""Form of a metric, by whether it is a share."""

_FILE_COLUMNS = (
    TableColumn("file", "file"),
    TableColumn("kind", "kind"),
    TableColumn("architecture.name", "network", common=True),
    TableColumn("data.name", "data", common=True),
    TableColumn("seed", "seed"),
    TableColumn("metrics.train.loss", "train loss", "loss"),
    TableColumn("metrics.test.loss", "test loss", "loss"),
    *(
        TableColumn(f"metrics.test.{name}", f"test {each.heading}", METRIC_FORMS[each.share])
        for name, each in METRICS.items()
    ),
    TableColumn("parameters", "parameters", "count", common=True),
    TableColumn("made_from", "made from"),
    TableColumn("to", "aligned to"),
    TableColumn("weights_sha256", "weights", "hash"),
)


def _file_row(name: str, found: Description) -> dict[str, Any]:
    """What a file says of itself, names in place of hashes of its parents."""
    row, names = found.to_dict(), found.names()

    def called(sha256: str) -> str:
        return model_name(names[sha256].name) if sha256 in names else sha256[:12]

    said = {
        "file": name,
        "kind": file_kind(found.metadata),
        "made_from": [called(parent) for parent in row["parents"]],
    }
    return {**row, **said, "to": row["aligned_to"] and called(row["aligned_to"])}


def average_section(runs: Sequence[SavedRun]) -> Section | None:
    """Averaged predictions."""
    blocks = [_averages(run) for run in runs if run.of_type("bma")]
    return section_of("averages", "Averaged predictions", *blocks) if blocks else None


def _averages(run: SavedRun) -> Markup:
    parsed: list[DrawnPosterior] = parse_rows(DrawnPosterior, {run.name: run.of_type("bma")})[run.name]
    curves = gallery(list(_over_samples(run.name, parsed)))
    largest = {row.posterior: max(each.samples for each in parsed if each.posterior == row.posterior) for row in parsed}
    figures = []
    for row in sorted(parsed, key=lambda row: row.samples != largest[row.posterior]):
        title = f"{row.posterior}, {number_of(row.samples, 'model')}"
        if row.reliability is None:
            continue
        drawing = reliability_chart(row.reliability, title, row.measures["ece"])
        figures.append(figure(drawing, title, f"{run.name} {title} reliability"))
    diagrams = small_gallery(figures, "reliability diagrams", len(largest))
    columns = [
        TableColumn("posterior", "averaged over"), TableColumn("samples", "models", "count"),
        *_metric_columns(spread=True),
        TableColumn("temperature", "temperature", "number"), TableColumn("scaled.nll", "loss at temperature", "loss"),
        TableColumn("scaled.ece", "ECE at temperature", "loss"), TableColumn("selected_on", "selected on"),
        TableColumn("split", "split", common=True),
    ]  # fmt: skip
    aligned = [f"alignment: {parsed[0].alignment}"] if parsed[0].alignment else []
    words = "; ".join([*aligned, *average_words(parsed)])
    means = table(run.of_type("bma"), columns, _caption(parsed))
    return run_block(run, curves, means, RELIABILITY_NOTE if figures else None, diagrams, words=words)


def _are_repeated(rows: Sequence[DrawnPosterior]) -> bool:
    """Whether averages were drawn more than once; the repeats of single models are the sources."""
    return any(row.repeats > 1 for row in rows if row.posterior != "single")


def _caption(rows: Sequence[DrawnPosterior]) -> str:
    averages = "means over repeats" if _are_repeated(rows) else "averages, each drawn once"
    return averages + ("; of single models over these" if any(row.posterior == "single" for row in rows) else "")


def _over_samples(name: str, rows: Sequence[DrawnPosterior]) -> Iterator[Markup]:
    """Charts over the number of models, where there are several numbers."""
    several = len({row.samples for row in rows}) > 2
    for metric, label in AVERAGE_METRICS.items():
        if not several or not all(metric in row.measures for row in rows):
            continue
        curves, factor = [], METRICS[metric].factor if metric in METRICS else 1
        for posterior in dict.fromkeys(row.posterior for row in rows):
            some = sorted((row for row in rows if row.posterior == posterior), key=lambda row: row.samples)
            mean = [factor * row.measures[metric] for row in some]
            spread = [factor * row.measures[f"{metric}_std"] for row in some]
            low = [m - s for m, s in zip(mean, spread, strict=True)]
            high = [m + s for m, s in zip(mean, spread, strict=True)]
            x = [float(row.samples) for row in some]
            curves.append(ChartCurve(posterior, POSTERIOR_SLOTS.get(posterior, 4), x, mean, low, high))
        deviation = ", ± one deviation over repeats" if _are_repeated(rows) else ""
        title = f"{label[0].upper()}{label[1:]} of averages{deviation}"
        chart = curve_chart(curves, Labels(title, "number of models", label), whole=True)
        yield figure(chart, title, f"{name} {metric}")


def evaluation_section(runs: Sequence[SavedRun]) -> Section | None:
    """How well models predict, and whether they know when they do not."""
    blocks = [_evaluated(run) for run in runs if run.of_type("eval")]
    return section_of("evaluation", "Evaluation", *blocks) if blocks else None


def _evaluated(run: SavedRun) -> Markup:
    judged = [row for row in run.of_type("eval") if not without_figure(row)]
    parsed: list[DrawnModel] = parse_rows(DrawnModel, {run.name: judged})[run.name]
    figures = []
    for row in parsed:
        versions: dict[str, DrawnCalibration | None] = {"": row, f" at temperature {row.temperature:.3g}": row.scaled}
        for how, found in versions.items():
            if found is not None:
                title = f"{model_name(row.model)}, {row.split} split{how}"
                drawing = reliability_chart(found.reliability, title, found.ece)
                figures.append(figure(drawing, title, f"{run.name} {title} reliability"))
    columns = [
        TableColumn("model", "model"), TableColumn("split", "split", common=True), *_metric_columns(spread=False),
        TableColumn("perplexity", "perplexity", "number"), TableColumn("temperature", "temperature", "number"),
        TableColumn("scaled.nll", "loss at temperature", "loss"),
        TableColumn("scaled.ece", "ECE at temperature", "loss"), TableColumn("data.name", "data", common=True),
        TableColumn("train_data.name", "data of training", common=True),
        TableColumn("statistics", "BatchNorm statistics", common=True),
    ]  # fmt: skip
    diagrams = small_gallery(figures, "reliability diagrams")
    words = RELIABILITY_NOTE if figures else None
    return run_block(run, table(run.of_type("eval"), columns, "evaluation"), words, diagrams)


def _metric_columns(*, spread: bool) -> list[TableColumn]:
    """Columns of metrics, with deviations where there are repeats."""
    metrics = {
        **{name: (each.heading, METRIC_FORMS[each.share]) for name, each in METRICS.items()},
        "nll": ("loss", "loss"),
        "loss": ("loss", "loss"),
        "brier": ("Brier score", "loss"),
        "ece": ("ECE", "loss"),
        "auroc_max_prob": ("AUROC", "loss"),
        "aurc": ("AURC", "loss"),
        "errors": ("errors", "number" if spread else "count"),
    }
    columns = []
    for key, (heading, form) in metrics.items():
        columns.append(TableColumn(key, heading, form))
        if spread and key in (*METRICS, "nll", "loss", "ece"):
            columns.append(TableColumn(f"{key}_std", "±", form))
    return columns


def fusion_section(runs: Sequence[SavedRun]) -> Section | None:
    """A fused model beside its sources and other averages."""
    blocks = [run_block(run, table(_by_model(run), _FUSION_COLUMNS, "fusion")) for run in runs if run.of_type("fuse")]
    return section_of("fusion", "Fusion", *blocks) if blocks else None


_FUSION_COLUMNS = (
    TableColumn("what", "what"),
    TableColumn("name", "model"),
    TableColumn("data_of", "data of"),
    *(
        TableColumn(f"{split}.{key}", f"{split} {key}", form)
        for split in SPLITS
        for key, form in (*((name, METRIC_FORMS[each.share]) for name, each in METRICS.items()), ("loss", "loss"))
    ),
    TableColumn("method", "method", common=True),
    TableColumn("alignment", "alignment"),
    TableColumn("selected_on", "selected on"),
)


def _by_model(run: SavedRun) -> list[dict[str, Any]]:
    """The rows of `fuse` with the splits of a model in one row."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in run.of_type("fuse"):
        what, split, data_of = str(row["model"]), str(row["split"]), ", ".join(map(str, row.get("data_of") or ()))
        named = {"what": what.replace("_", " "), **({"data_of": data_of} if data_of else {})}
        one = found.setdefault((what, str(row.get("name")), data_of), {**row, **named})
        one[split] = {name: row[name] for name in ("loss", *METRICS) if name in row}
    return list(found.values())
