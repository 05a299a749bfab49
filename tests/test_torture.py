"""A short form of `scripts/torture`: its sections that break runs, with a few trials each."""

import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from torture import SECTIONS
from torture_trials import Trials

SCALES = {"kills": 0.01, "crashes": 0.012, "full": 0.011, "damage": 0.004, "concurrency": 0.01}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("section", SCALES)
def test_no_fault(section, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = Trials(random.Random(section), tmp_path)
    SECTIONS[section](trials, SCALES[section])
    assert not trials.faults
    assert trials.ended
