"""The wheel carries everything: conf/, the command; it runs from any folder without the checkout."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


HOME = "https://forge.example/owner/dlreg"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the built wheel unpacked into it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run(build, check=True, capture_output=True, env=os.environ | {"DLREG_HOME": f"{HOME}/"})
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_a_registrys_page_has_whole_links(installed):
    page = next(installed.glob("*.dist-info/METADATA")).read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)\s]+)\)", page)
    assert f"Project-URL: Source, {HOME}\n" in page
    assert f"{HOME}/raw/main/docs/results/few_images.png" in found and f"{HOME}/blob/main/CONTRIBUTING.md" in found
    assert not [link for link in found if not link.startswith(("https://", "http://", "#"))]
    inside = [link.removeprefix(HOME).split("/", 3)[3] for link in found if link.startswith(HOME)]
    assert inside and not [path for path in inside if not (ROOT / path.split("#")[0]).exists()]


def test_contents(installed):
    conf = {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    assert {p.relative_to(installed / "dlreg/conf") for p in (installed / "dlreg/conf").rglob("*.yaml")} == conf
    assert (installed / "dlreg" / "py.typed").is_file()


def test_a_sweep_from_the_wheel(installed, tmp_path):
    code = (
        f"import sys; sys.path = [{str(installed)!r}] + [p for p in sys.path if p and not p.startswith({str(ROOT)!r})"
        f" or 'site-packages' in p]\n"
        "import dlreg.cli\n"
        f"assert dlreg.cli.__file__.startswith({str(installed)!r}), dlreg.cli.__file__\n"
        "sys.exit(dlreg.cli.main(sys.argv[1:]))"
    )
    words = ["train", "-m", "reg=none,dropout", "epochs=1", "data.train_size=128", "device=cpu"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert "2 done" in done.stderr
    assert len(list((tmp_path / "outputs").iterdir())) == 2
