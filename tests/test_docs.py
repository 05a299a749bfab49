"""The site without Sphinx: cards, formulas, a page for everything, links that lead somewhere. CI builds the whole."""

import ast
import json
import os.path
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import EVERY_OPTION

from dlreg import cli
from dlreg.config.card import FORMULA, addresses
from dlreg.report.metrics import METRICS
from dlreg.study.file import studies

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import docs_pages  # noqa: E402
import docs_pictures  # noqa: E402
import docs_site  # noqa: E402
import docs_text  # noqa: E402
from docs_formula import latex  # noqa: E402

TITLES = [f"{group}={name}" for group, name in EVERY_OPTION]


@pytest.fixture(scope="module")
def catalogue():
    return docs_pages.Catalogue.of(ROOT)


@pytest.fixture(scope="module")
def written(tmp_path_factory, catalogue):
    """`name -> text` of every page."""
    folder = tmp_path_factory.mktemp("site")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in docs_site.write(folder, catalogue)}


@pytest.mark.parametrize(
    ("plain", "wanted"),
    [
        ("w <- w - lr g", r"w \leftarrow w - \text{lr}\,g"),
        ("lr m' / (sqrt(v') + eps)", r"\frac{\text{lr}\,m'}{\sqrt{v'} + \varepsilon}"),
        ("1/k sum_i p_i(y | x)", r"\frac{1}{k} \sum_{i} p_{i}\left( y \mid x \right)"),
        ("(alpha / 2) sum |w|^q", r"\frac{\alpha}{2} \sum \left| w \right|^{q}"),
        ("w min(1, c / ||w||)", r"w \min\left( 1 , \frac{c}{\left\| w \right\|} \right)"),
        ("KL(rho || m)", r"\operatorname{KL}\left( \rho \,\|\, m \right)"),
        ("<x, w>", r"\left\langle x , w \right\rangle"),
        ("b1^t m'^2", r"b_{1}^{t} m'^{2}"),
        ("a_(t-1)", r"a_{t - 1}"),
        ("(H + c I)^-1", r"\left( H + c I \right)^{-1}"),
        ("(l / L)^2", r"\left( \frac{l}{L} \right)^{2}"),
        ("1/sqrt n_in", r"\frac{1}{\sqrt{n_{\text{in}}}}"),
        ("U(-1, 1)", r"\mathcal{U}\left( - 1 , 1 \right)"),
        ("U x", "U x"),
        ("min_delta", r"\text{min_delta}"),
        ("1e-4 t", r"10^{-4} t"),
        ("a = 1; b <- 2", r"\begin{aligned}a &= 1 \\ b &\leftarrow 2\end{aligned}"),
        ("z * H z, z = +-1", r"z \odot H z ,\; z = \pm 1"),
        ("x for r in A", r"x \;\text{for}\; r \;\text{in}\; A"),
    ],
)
def test_notation(plain, wanted):
    assert latex(plain) == wanted


@pytest.mark.parametrize("wrong", ["(a", "a)", "a / ", "/ a", "a # b", "|a", "a ^", "sqrt(a", "[a)"])
def test_what_the_notation_does_not_have_is_refused(wrong):
    with pytest.raises(ValueError):
        latex(wrong)


@pytest.mark.parametrize("title", TITLES)
def test_every_card_is_complete_and_its_formulas_can_be_read(title, catalogue):
    shown = catalogue.cards[title]
    assert not shown.lacking
    for part in shown.parts:
        assert "$" not in part.plain, "a dollar without its fellow"
        for found in FORMULA.finditer(part.text):
            assert latex(found["displayed"] or found["inline"])


@pytest.mark.parametrize("what", ["a formula", "a headline", "a text"])
def test_what_a_card_lacks_fails_the_build(what, catalogue):
    shown = catalogue.cards["reg=dropout"]
    bare = {"a formula": "Words.", "a text": ""}
    parts = tuple(replace(part, text=bare.get(what, part.text)) for part in shown.parts)
    poor = replace(shown, parts=parts, headline="" if what == "a headline" else shown.headline)
    with pytest.raises(ValueError, match=rf"reg=dropout: the card lacks .*{what}"):
        docs_pages.option(catalogue, poor)


def test_a_bracket_that_opened_before_an_address_is_not_its_own():
    text = "(see https://a.org/x). https://doi.org/10.1016/0893-6080(91)90033-2; https://b.org/c, (https://d.org/e; f)"
    found = ["https://a.org/x", "https://doi.org/10.1016/0893-6080(91)90033-2", "https://b.org/c", "https://d.org/e"]
    assert [address for _, address in addresses(text)] == found


def test_a_page_for_every_option_and_study(written):
    assert {f"{group}/{name}.md" for group, name in EVERY_OPTION} <= set(written)
    assert {f"studies/{name}.md" for name in studies()} <= set(written)
    for group in {group for group, _ in EVERY_OPTION}:
        names = [name for other, name in EVERY_OPTION if other == group]
        assert all(f"({name}.md)" in written[f"{group}/index.md"] for name in names)


def test_card_and_page_come_from_one_source(written, catalogue):
    """Every word of the text, every parameter, the whole file."""
    for shown in catalogue.cards.values():
        page = written[f"{shown.group}/{shown.name}.md"]
        assert shown.yaml in page
        for part in shown.parts:
            assert docs_text.from_docstring(part.text) in page
            assert all(f"<{address}>" in page for address in part.addresses)
            assert all(docs_text.cell(row.key) in page for row in part.parameters)


def test_terminal_prints_the_card(catalogue, capsys):
    shown = catalogue.cards["reg=l1_late"]
    assert cli.main(["show", "reg=l1_late"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"reg=l1_late  {shown.headline}\n\n{shown.parts[0].plain}\n")
    assert out.rstrip().endswith(shown.yaml)


def test_list_prints_every_headline_as_it_stands(catalogue, capsys):
    """Brackets in it are no markup."""
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert [c.title for c in catalogue.cards.values() if c.headline not in out] == []


def test_links_lead_somewhere(written):
    for name, text in written.items():
        text = re.sub(r"```.*?```|`[^`\n]+`|\$\$.*?\$\$", "", text, flags=re.DOTALL)
        for found in docs_text.LINK.finditer(text):
            target = found["target"]
            if target.startswith(("http", "#")):
                continue
            place = os.path.normpath(Path("build/docs", name).parent / target)
            own = place.removeprefix("build/docs/")
            drawn = own.endswith(".png") and own.split("/")[0] in docs_pictures.PICTURES
            assert own in written or drawn or (ROOT / place).exists(), f"{name}: {target}"


def test_commands_are_some_that_dlreg_would_run(written):
    assert "$ dlreg train optimizer=sgd\n" in written["optimizer/sgd.md"]
    assert "$ dlreg train optimizer=lbfgs batch_size=full\n" in written["optimizer/lbfgs.md"]
    assert "$ dlreg train optimizer=newton batch_size=full model=linear\n" in written["optimizer/newton.md"]
    assert "$ dlreg train data=sine loss=mse\n" in written["data/sine.md"]
    assert "$ dlreg train -m model=mlp,polynomial data=sine loss=mse seed=0,1,2\n" in written["model/polynomial.md"]
    assert (
        "$ dlreg train optimizer=omp data=sine model=polynomial loss=mse batch_size=full\n"
        in written["optimizer/omp.md"]
    )
    assert "$ dlreg train -m reg=none,dropout seed=0,1,2\n" in written["reg/dropout.md"]


def test_uses_are_those_of_the_study_files(catalogue):
    assert ("mnist_regularizers", "Dropout + Max-norm") in catalogue.uses["reg=maxnorm"]
    assert ("mnist_regularizers", "L2 + L1 towards the end of training") in catalogue.uses["reg=l1_late"]
    assert set(catalogue.uses) <= set(TITLES)


def literals(function, names):
    """Keys that a function puts into one of the dicts called `names`: in displays and by subscript."""
    tree = ast.parse((ROOT / "dlreg" / function[0]).read_text())
    body = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function[1])
    for node in ast.walk(body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and node.targets[0].id in names:
            yield from (key.value for key in node.value.keys if isinstance(key, ast.Constant))
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in names:
            if isinstance(node.slice, ast.Constant):
                yield node.slice.value
            elif isinstance(node.slice, ast.Name):
                yield next(
                    n.value.value for n in tree.body
                    if isinstance(n, ast.Assign) and n.targets[0].id == node.slice.id
                )  # fmt: skip


def test_every_word_of_a_table_is_explained(written):
    """What protocol.py and tabulate.py may print under a table, what cells.py heads its columns with, every verdict."""
    explained = set(re.findall(r"\*\*(.+?)\*\*", written["table.md"]))
    footer = {
        *literals(("report/protocol.py", "protocol_of"), ["lines"]),
        *literals(("study/tabulate.py", "table"), ["extra"]),
        *literals(("report/effects_words.py", "words"), ["lines"]),
    }
    columns = set(literals(("report/cells.py", "cells"), ["shown"]))
    assert {"Seeds", "Precision", "Changed", "Effects"} <= footer and {"Δ", "verdict", "95 % interval"} <= columns
    verdicts = set()
    for path in (ROOT / "docs" / "results").glob("*.md"):
        rows = [
            [c.strip() for c in line.split(" | ")] for line in path.read_text().splitlines() if line.startswith("|")
        ]
        if rows and "verdict" in rows[0]:
            verdicts |= {row[rows[0].index("verdict")].strip("*") for row in rows[2:]} - {"–", "—"}
    verdicts = {re.sub(r"^\d+ of \d+", "2 of 5", re.sub(" within .*", "", verdict)) for verdict in verdicts}
    wanted = footer | columns | verdicts | {metric.title for metric in METRICS.values()}
    assert verdicts and wanted <= explained, wanted - explained


def test_the_effect_in_the_index_of_results_is_the_largest_that_its_page_decides():
    told = 0
    for path in (ROOT / "docs" / "results").glob("*.md"):
        text = path.read_text()
        if not (facts := re.search(r"<!-- facts: (\{.*\}) -->", text)):
            continue
        effect = json.loads(facts[1])["effect"]
        lines = [line.replace("\\", "") for line in text.splitlines() if line.startswith("| ")]
        head, *rows = [dict(zip(lines[0].split(" | "), line.split(" | "), strict=True)) for line in lines]
        sizes = {
            start: [abs(float(row["Δ"].split()[0])) for row in rows if row["verdict"].startswith(start)]
            for start in ("better", "worse")
            if "Δ" in head
        }
        wanted = max(sizes.get("better") or sizes.get("worse") or [None])
        shown = re.search(r": ([+-]\S+) \[", effect)
        assert (abs(float(shown[1])) if shown else None) == wanted, path
        told += wanted is not None
    assert told > 15


def test_the_tree_of_contributing_is_the_tree(written):
    tree = docs_text.section(ROOT / "CONTRIBUTING.md", "The tree")
    package = ROOT / "dlreg"
    there = {p.name for p in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    there |= {f"{p.parent.name}/" for p in package.glob("*/__init__.py")}
    assert [name for name in sorted(there) if name not in tree] == []


def test_dlreg_itself_knows_no_sphinx():
    for path in (ROOT / "dlreg").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (sphinx|docutils|myst_parser)", path.read_text(), re.MULTILINE), path
