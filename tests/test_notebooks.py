"""The notebooks run, with fewer epochs, steps and patches; what they were shown with has no error."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.program import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="nothing runs notebooks"
    ),
    # of the kernel's own, which talks to this process alone
    pytest.mark.filterwarnings("ignore"),
]


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 3


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A kernel that notebooks share, for each imports the same for seconds; each begins without names."""
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.util import run_sync

    manager = AsyncKernelManager(kernel_name="python3")
    run_sync(manager.start_kernel)(cwd=str(tmp_path_factory.mktemp("notebooks")))
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, kernel: Any) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs or "=" in cell.source for cell in code), "it is shown with what it prints"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    for cell in code:
        cell.source = cell.source.replace('"patch_size": 2', '"patch_size": 4')
        cell.source = re.sub(
            r"epochs(, steps)? = .*", lambda m: "epochs, steps = 1, 3" if m[1] else "epochs = 1", cell.source
        )
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client = NotebookClient(notebook, km=kernel, timeout=300)
    client.execute()
    client.kc.stop_channels()
