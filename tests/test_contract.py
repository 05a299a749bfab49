"""Code of one's own that is wrong is refused before any work, in one line that names what is wrong and what would be right."""

import importlib
import itertools
import sys

import pytest
from conftest import EVERY_OPTION, Silent

from dlreg.config.build import hyperparameters, locate
from dlreg.config.options import options, text_of
from dlreg.errors import UserError
from dlreg.run.experiment import Experiment

REG = "from dlreg.reg.base import Regularizer\nclass Thing(Regularizer):\n    "
AUG = "from dlreg.aug.base import Augmentation\nclass Thing(Augmentation):\n    "
NET = "from torch import nn\nclass Thing(nn.Module):\n    "
OPTIMIZER = (
    "import torch\nclass Thing(torch.optim.Optimizer):\n"
    "    def __init__(self, params, *, lr: float): super().__init__(params, {})\n    "
)
SEVEN = (
    "def __init__(self, shape, classes, norm): super().__init__(); self.last = nn.Linear(64, 7)\n"
    "    def forward(self, x): return self.last(x.flatten(1))\n"
)
DATA = "from dlreg.data.base import Dataset\ndef Thing(root, download) -> Dataset: "
numbers = itertools.count()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """plugin(code) -> the `_target_` of the Thing in it. Each is a module of another name, so that none is remembered."""

    def write(code):
        name = f"own_code_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setenv("DLREG_PLUGINS", name)
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        importlib.invalidate_caches()
        return f"{name}.Thing"

    return write


@pytest.mark.parametrize(
    ("group", "code", "says"),
    [
        ("reg", "def f(:\n", r"SyntaxError: .* \(own_code_\d+.py, line 1\)$"),
        ("reg", "\nfoo\n", r"NameError: name 'foo' is not defined \(own_code_\d+.py, line 2\)$"),
        ("reg", "import nowhere_at_all\n", r"No module named 'nowhere_at_all' \(own_code_\d+.py, line 1\)$"),
        ("reg", "class Thingy: pass\n", r"module own_code_\d+ has no Thing. Did you mean Thingy\?$"),
        ("reg", "class Thing: pass\n", "holds Regularizers: one derives from dlreg.reg.base.Regularizer$"),
        ("data", "def Thing(root, download): pass\n", "holds Datasets: one says -> Dataset$"),
        ("reg", REG + "def gradients(self, model): pass\n", r"Thing would do nothing: .* Did you mean gradient\?$"),
        ("log", "from dlreg.log.base import Tracker\nclass Thing(Tracker): pass\n",
         "has no begin, epoch, layers, end.$"),
        ("model", NET + "def __init__(self, shape, classes, norm): pass\n",
         "Thing would do nothing: it has no forward.$"),
        ("optimizer", OPTIMIZER, "Thing would do nothing: it has no step.$"),
        ("reg", REG + "def penalty(self, model): pass\n",
         r"Thing.penalty takes \(self, model\); it must take \(self, model, x, y, logits\)$"),
        ("aug", REG + "def batch(self, x, y): pass\n",
         r"Thing.batch takes \(self, x, y\); it must take \(self, model, x, y\)$"),
        ("optimizer", OPTIMIZER + "def step(self): pass\n",
         r"Thing.step takes \(self\); it must take \(self, closure\)$"),
        ("reg", REG + "def __init__(self, a: float = 1.0): pass\n", r"Thing takes \(a=1.0\); it must take \(\*, a\)$"),
        ("model", NET + "def __init__(self, *, hidden: int): pass\n",
         r"takes \(\*, hidden\); it must take \(shape, classes, norm, \*, hidden\)$"),
        ("data", "from dlreg.data.base import Dataset\ndef Thing(n: int) -> Dataset: pass\n",
         r"it must take \(root, download, \*, n\)$"),
        ("schedule", "def Thing() -> float: pass\n", r"Thing takes \(\); it must take \(progress\)$"),
        ("reg", REG + "def __init__(self, *, a: 'Foo'): pass\n    def gradient(self, model): pass\n",
         "an annotation cannot be read: name 'Foo'"),
    ],
)  # fmt: skip
def test_what_it_is_is_checked_before_it_is_built(group, code, says, plugin):
    with pytest.raises(UserError, match=says) as refused:
        hyperparameters(group, {"_target_": plugin(code)})
    assert ("\n" not in str(refused.value) and group in str(refused.value).split(":")[0]) or "annotation" in says


def test_a_module_that_is_not_there(monkeypatch):
    monkeypatch.setenv("DLREG_PLUGINS", "own_code")
    with pytest.raises(UserError, match=r"there is no own_code\.py in this folder and no package own_code$"):
        locate("reg", {"_target_": "own_code.Thing"})


@pytest.mark.parametrize(
    ("group", "code", "says"),
    [
        ("reg", REG + "def __init__(self): 1 / 0\n    def gradient(self, model): pass\n",
         r"ZeroDivisionError: division by zero \(own_code_\d+.py, line 3\)"),
        ("reg", REG + "def gradient(self, model): foo\n",
         r"NameError: name 'foo' is not defined \(own_code_\d+.py, line 3\)"),
        ("reg", REG + "def gradient(self, model): {}['lr']\n", r"KeyError: 'lr' \(own_code_\d+.py, line 3\)"),
        ("reg", REG + "def setup(self, model): pass\n", "thing.setup must return the model; it returned NoneType$"),
        ("reg", REG + "def penalty(self, model, x, y, logits): return logits\n",
         r"thing.penalty must return a number; it returned a tensor \(2, 10\)$"),
        ("reg", REG + "def batch(self, model, x, y): return x\n",
         r"thing.batch must return the batch, \(x, y\); it returned a tensor \(2, 1, 8, 8\)$"),
        ("aug", AUG + "pass\n", "Thing has no transform "),
        ("model", NET + SEVEN, r"model=thing must give \(N, 10\), a row for each sample; it gave a tensor \(2, 7\)$"),
        ("optimizer", OPTIMIZER + "def step(self, closure): return closure()\n",
         r"optimizer=thing keeps no lr, which schedules set"),
        ("optimizer", OPTIMIZER.replace("{}", "{'lr': lr}") + "def step(self, closure=None): pass\n",
         "Thing.step does not call the closure that it is given"),
        ("data", DATA + "pass\n", "data=thing must return a Dataset; it returned NoneType$"),
        ("data", DATA + "return 1 / 0\n",
         r"data=thing cannot be made: ZeroDivisionError: division by zero \(own_code_\d+.py, line 2\)"),
    ],
)  # fmt: skip
def test_what_it_does_is_seen_in_the_rehearsal(group, code, says, plugin, settings):
    plain = settings()
    target = {"_target_": plugin(code)} | ({"lr": 0.1} if group == "optimizer" else {})
    chosen = {"thing": target} if group in ("reg", "aug") else target | {"name": "thing"}
    if group == "data":
        chosen = plain.data | chosen
    with pytest.raises(UserError, match=says) as refused:
        Experiment.of(plain.model_copy(update={group: chosen})).run(Silent())
    assert "\n" not in str(refused.value)


def test_an_option_of_a_stack_stands_under_its_name(spoken, tmp_path):
    (tmp_path / "reg").mkdir()
    (tmp_path / "reg" / "thing.yaml").write_text("_target_: dlreg.reg.dropout.Dropout\n")
    status, _, err = spoken("train", "--config-dir", str(tmp_path), "reg=thing")
    assert status == 2 and "must stand under the option's name, NAME: {_target_: ...}" in err


@pytest.mark.parametrize(("group", "name"), EVERY_OPTION)
def test_every_option_of_dlreg_keeps_it_too(group, name):
    for line in text_of(options(group)[name]).splitlines():
        if "_target_:" in line:
            assert locate(group, {"_target_": line.split("_target_:")[1].split()[0]})
