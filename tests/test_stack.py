"""The derivative that is written out: autograd's bits wherever it is taken, and never where it is not proved."""

import pytest
import torch

from dlreg.context import Progress
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.stack import Stack
from dlreg.run.step import train_step

TAKEN = [
    [],
    ["model.hidden=[]"],
    ["model.hidden=[20,20,20]", "model.activation=tanh", "precision=fp64"],
    ["model.activation=sigmoid", "reg=gaussian_dropout"],
    ["reg=[dropout,maxnorm]", "reg.dropout.input_p=0.2", "optimizer=momentum", "batch_size=100"],
    ["reg=[label_smoothing,clip_norm]", "aug=mixup", "optimizer=adam"],
    ["freeze=[layers.1]", "optimizer=sam"],
    ["loss=focal", "loss.class_weight=inverse"],
    ["loss=mse", "optimizer=lbfgs", "batch_size=full"],
    ["optimizer=svrg", "reg=input_noise"],
    ["reg=[dropout,l2]", "reg.l2.layers={layers.1:0}", "optimizer=momentum"],
    ["reg=[l2,maxnorm]", "reg.l2.biases=true", "freeze=[layers.1]", "optimizer=adam"],
]
LEFT = [
    ["reg=[l2,l1_late]"],
    ["reg=l1"],
    ["reg=l2_to"],
    ["norm=batch"],
    ["norm=weight"],
    ["reg=hidden_noise"],
    ["reg=weight_noise"],
    ["reg=mc_dropout"],
    ["reg=kl_sparsity"],
    ["model.activation=gelu"],
    ["precision=bf16"],
    ["model=maxout"],
    ["model=linear"],
]


def made(settings, words):
    experiment = Experiment.of(settings(*words))
    data = experiment.data()
    return parts.make_parts(experiment.settings, data, 0), data


def trained(made_parts, data, steps=3):
    made_parts.context.begin_epoch(0)
    made_parts.model.train()
    for step in range(steps):
        made_parts.context.progress = Progress(step, steps, steps)
        batch = (
            slice(0, None) if getattr(made_parts.optimizer, "full_batch", False) else slice(step * 30, step * 30 + 50)
        )
        x, y = data.train.x[batch].float() / 255, data.task.targets(data.train.y[batch])
        told = train_step(made_parts, x, y)
    gradients = [p.grad for p in made_parts.model.parameters()]
    return [*told, *gradients, *made_parts.model.state_dict().values()]


@pytest.mark.parametrize("words", TAKEN, ids=" ".join)
def test_has_the_bits_of_autograd(words, settings):
    written, data = made(settings, words)
    assert isinstance(written.stack, Stack)
    by_autograd, _ = made(settings, words)
    by_autograd.stack = None
    for ours, theirs in zip(trained(written, data), trained(by_autograd, data), strict=True):
        assert ours is theirs is None or torch.equal(ours, theirs)


@pytest.mark.parametrize("words", LEFT, ids=" ".join)
def test_is_left_to_autograd_where_more_happens_than_is_written_out(words, settings, monkeypatch):
    monkeypatch.setattr(Stack, "_passes", lambda *_: pytest.fail("written out"))
    trained(*made(settings, words))


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # at the first layer, whose inputs have no gradient
def test_a_hook_that_anybody_sets_at_any_time_sees_what_passes(settings):
    plain, data = made(settings, [])
    assert isinstance(plain.stack, Stack)
    for module in plain.model.modules():
        hooks = [module.register_forward_hook, module.register_forward_pre_hook]
        if isinstance(module, torch.nn.Linear):  # autograd calls those of modules that have a gradient
            hooks.append(module.register_full_backward_hook)
        for hook in hooks:
            seen = []
            handle = hook(lambda *_, seen=seen: seen.append(1))
            trained(plain, data)
            handle.remove()
            assert len(seen) == 3, module
