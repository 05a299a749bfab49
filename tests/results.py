"""A fixed set of results: three rows, three seeds, one diverged run, one hostile name. Nothing is trained."""

from dataclasses import replace

from dlreg.run.result import Result, run_id

TEST = {"none": [2.0, 2.2, 2.1], "dropout": [1.5, 1.7, 1.62], "l2": [2.1, 2.15, 2.2]}


def config(reg="none", seed=0, **changes):
    regs = {
        "none": {},
        "dropout": {"dropout": {"_target_": "dlreg.reg.dropout.Dropout", "p": 0.5}},
        "l2": {"l2": {"_target_": "dlreg.reg.penalties.L2", "alpha": 1e-4}},
    }
    tree = {
        "data": {
            "name": "mnist",
            "_target_": "dlreg.data.mnist.mnist",
            "root": "/somewhere",
            "download": True,
            "val_size": 0.1,
        },
        "model": {"name": "mlp", "_target_": "dlreg.model.mlp.MLP", "hidden": [800, 800], "activation": "relu"},
        "init": {"name": "default"},
        "norm": {"name": "none"},
        "optimizer": {"name": "sgd", "_target_": "dlreg.optimizer.sgd.sgd", "lr": 0.1},
        "schedule": {"name": "constant", "warmup": 0.0},
        "aug": {},
        "reg": regs[reg],
        "seed": seed,
        "epochs": 2,
        "batch_size": 100,
        "sampler": "shuffle",
        "precision": "fp32",
        "device": "cpu",
        "threads": "auto",
        "outputs": "outputs",
        "save_weights": True,
        "progress": True,
        "rerun": False,
    }
    return tree | changes


def result(reg="none", seed=0, error=2.0, status="done", **changes):
    """A Result with every number that a real one has; `error` in percent."""
    tree = config(reg, seed, **changes)
    if status != "done":
        return Result(run_id(tree), status, tree, message="diverged at step 7")

    def metrics(error, samples):
        return {
            "loss": error / 25,
            "error": error / 100,
            "top5_error": error / 2000,
            "ece": error / 400,
            "samples": samples,
            **dict.fromkeys(["balanced_error", "head_error", "middle_error", "tail_error"], error / 100),
            **dict.fromkeys(["parity_error", "rotation_error"], error / 100),
            **dict.fromkeys(["fgsm_error", "pgd_error", "robust_error"], error / 100),
        }

    history = [
        {"epoch": e, "train_loss": 0.5 / e, "train_error": 0.05 / e, "val_loss": 0.4 / e, "val_error": 0.04 / e + error / 1000,
         "lr": 0.1, "seconds": 1.0, "images_per_second": 54000.0}
        for e in (1, 2)
    ]  # fmt: skip
    linear = {"weight_norm": error, "nonzeros": error, "condition": 1 + error, "coefficients": [error] * 10}
    return Result(
        run_id(tree),
        "done",
        tree,
        history,
        measures={"last": linear, "best_val": linear},
        train=metrics(0.5, 54000),
        val={"last": metrics(error + 0.1, 6000), "best_val": metrics(error, 6000)},
        test={"last": metrics(error, 10000), "best_val": metrics(error - 0.05, 10000)},
        seconds=60.0 + seed,
        parameters=1_276_810,
        versions={"dlreg": "0.1.0", "python": "3.11.7", "torch": "2.15.0"},
        fingerprint={"torch": "2.15.0", "threads": 2, "cpu": "AVX512", "machine": "x86_64", "device": "cpu"},
        git={"commit": "0123456789abcdef", "changed": False},
        test_reads=1,
    )


def of_values(run):
    """The same run as one of values."""

    def numbers(metrics):
        return {
            "loss": metrics["loss"],
            "mse": metrics["error"],
            "r2": 1 - metrics["error"],
            "samples": metrics["samples"],
        }

    both = {part: {which: numbers(found) for which, found in getattr(run, part).items()} for part in ("val", "test")}
    return replace(run, train=numbers(run.train), **both)


def fixed():
    """Three rows with three seeds each; one l2 run diverged."""
    runs = [result(reg, seed, error) for reg, errors in TEST.items() for seed, error in enumerate(errors)]
    runs[-1] = result("l2", 2, status="diverged")
    return runs
