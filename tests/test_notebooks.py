"""The notebooks run from top to bottom."""

from pathlib import Path

import nbclient
import nbformat
import pytest

from lindae_jax import figures

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))

# The client of Jupyter's kernels and the kernel itself warn of their own affairs.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_holds_no_outputs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    client = nbclient.NotebookClient(
        notebook, timeout=100, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    written = [output for cell in cells for output in cell.outputs]
    assert not [output for output in written if output.output_type == "error"]
    # What goes to standard error are warnings, of which a reader would wonder.
    assert not [output.text for output in written if output.get("name") == "stderr"]
    if path.stem == "02_the_paper":
        shown = [
            output for output in written if {"image/png", "image/gif"} & {*output.get("data", {})}
        ]
        assert len(shown) == len(figures.FIGURES)
