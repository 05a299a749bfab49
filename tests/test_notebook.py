"""The notebook of the docs runs from the first cell to the last, and shows what it showed."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbformat, nbclient and ipykernel")
nbclient = pytest.importorskip("nbclient", reason="needs nbformat, nbclient and ipykernel")
pytest.importorskip("ipykernel", reason="needs nbformat, nbclient and ipykernel")

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebook.ipynb"


def shown(cell):
    """The kinds of what a cell ends with: of what it returned, not of the lines on the way."""
    return [sorted(output.data) for output in cell.get("outputs", ()) if output.output_type == "execute_result"]


@pytest.mark.filterwarnings("ignore")  # of the notebook's own machinery
def test_the_notebook_runs(tmp_path):
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(fresh, timeout=120, kernel_name="python3", resources=where).execute()
    assert [shown(cell) for cell in fresh.cells] == [shown(cell) for cell in kept.cells]
    assert ["image/png", "text/plain"] in [kinds for cell in kept.cells for kinds in shown(cell)]
