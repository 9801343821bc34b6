"""What predictions are scored on: nothing is chosen on the split that is reported."""

from dataclasses import replace

import pytest
import torch
from support.training import small

from starcli.data.dataset import Dataset
from starcli.data.in_memory import dataset_in_memory
from starcli.errors import StarcliError
from starcli.evaluation.confidence import confidence
from starcli.evaluation.evaluator import Evaluator
from starcli.evaluation.scoring import Scoring
from starcli.evaluation.temperature import fit_temperature, scaled


@pytest.fixture
def data() -> Dataset:
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(count, 2, generator=generator), torch.randint(3, (count,), generator=generator)

    return dataset_in_memory({"train": part(5), "validation": part(30), "test": part(40)})


def outputs(count: int) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(1)


def test_temperature_is_of_validation_and_metrics_of_test(data: Dataset) -> None:
    scoring = Scoring(data, temperature="fit", choose=True)
    assert scoring.splits == ("test", "validation")
    both = outputs(70)
    # by other labels than the predictions' own there would be no temperature
    both[40:] += torch.nn.functional.one_hot(data.split("validation").labels, 3) * 0.5
    both = both.log_softmax(1)
    found = scoring.score(both)
    temperature = fit_temperature(both[40:], data.split("validation").labels)
    assert found.temperature == temperature
    assert found.plain == confidence(both[:40], data.test.labels)
    assert found.scaled == confidence(scaled(both[:40], temperature), data.test.labels)
    validation = confidence(scaled(both[40:], temperature), data.split("validation").labels)
    assert found.validation_loss == validation.nll


def test_validation_that_is_the_test_split_chooses_nothing(data: Dataset) -> None:
    same = replace(data, test=data.validation)
    for asked in ({"temperature": "fit"}, {"choose": True}):
        with pytest.raises(StarcliError, match="is the test split too"):
            Scoring(same, **asked)
    assert Scoring(same, "validation", "fit").splits == ("validation",)
    assert Scoring(same, temperature=2.0).splits == ("test",)


def test_without_a_validation_split_nothing_is_chosen(data: Dataset) -> None:
    for asked in ({"split": "validation"}, {"temperature": "fit"}, {"choose": True}):
        with pytest.raises(StarcliError, match="no validation split"):
            Scoring(replace(data, validation=None), **asked)


@pytest.mark.parametrize("temperature", [None, 1.7])
def test_what_is_measured_batch_by_batch_is_what_all_predictions_together_are(temperature: float | None) -> None:
    evaluator = Evaluator(small(limit=900))  # type: ignore[arg-type]
    evaluator.load(evaluator.workspace.network(0).state())
    scoring = Scoring(evaluator.workspace.dataset, "train", temperature)
    found = scoring.measure(evaluator)
    assert found == scoring.score(scoring.outputs(evaluator))
    rows = torch.cat([outputs for outputs, _ in evaluator.predictions("train")])
    expected = torch.nn.functional.cross_entropy(rows / (temperature or 1), scoring.dataset.train.labels)
    after = found.plain if temperature is None else found.scaled
    assert after is not None
    assert after.nll == pytest.approx(float(expected), rel=1e-12)
