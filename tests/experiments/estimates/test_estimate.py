"""What the doctor multiplies: passes against a run that is counted, bytes against files, methods against their fits."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.estimates.estimate_predictions import TRIED_FOLDS, MethodCost, estimate_predictions, try_method


@pytest.fixture
def tiny(tmp_path):
    pytest.importorskip("torch")
    from base_models.manifest import load_manifest
    from base_models.testing import tiny_recipe, write_tiny_photos

    recipe = tiny_recipe(write_tiny_photos(tmp_path / "photos", 24, 6))
    training = replace(recipe.members[0].training, flip_tta=True)
    recipe = replace(recipe, members=(replace(recipe.members[0], training=training),), derived=())
    return recipe, load_manifest(recipe.data, Path())


@pytest.mark.parametrize(
    ("cache", "folds"),
    [
        ("memory", {}),
        ("none", {}),
        ("none", {"scheme": "holdout"}),
        ("memory", {"new_photos": "refit"}),
        ("packed", {}),
    ],
)
def test_passes_are_those_of_a_real_run(tiny, tmp_path, monkeypatch, cache, folds):
    from base_models.manifest import Manifest
    from base_models.packed import packing
    from base_models.recipe.folds import FoldConfig
    from base_models.runs.out_of_fold import run_training
    from base_models.training import epoch, scoring
    from experiments.estimates.passes import count_passes, count_rows

    base = tiny[0].folds
    dealt = (
        FoldConfig(validation_fraction=base.validation_fraction, **folds)
        if "scheme" in folds
        else replace(base, **folds)
    )
    ways = {"photos_gib": 1.0} if cache == "packed" else {"photos_gib": 0.0, "cache": cache}
    recipe = replace(tiny[0], folds=dealt, **ways)
    counts = {"trained": 0, "scored": 0, "decoded": 0}

    def count(place, name, size_of, what):
        real = getattr(place, name)

        def counted(*args, **kwargs):
            counts[what] += size_of(args)
            return real(*args, **kwargs)

        monkeypatch.setattr(place, name, counted)

    count(epoch, "compute_logits", lambda args: len(args[1]), "trained")
    count(scoring, "compute_logits", lambda args: len(args[1]), "scored")
    count(Manifest, "read_photo", lambda args: args[2] == 32, "decoded")
    count(packing, "letterbox", lambda args: args[1] == 32, "decoded")
    run_training(recipe, tmp_path / "run", device="cpu")
    passes = count_passes(recipe.members[0], recipe, count_rows(recipe, tiny[1]), decode_all=True)
    assert passes.trained == pytest.approx(counts["trained"], rel=0.2)
    assert passes.scored == pytest.approx(counts["scored"], rel=0.2)
    assert passes.decoded == pytest.approx(counts["decoded"], rel=0.2)


def test_frozen_and_shrunk_epochs_count_for_less(tiny):
    from experiments.estimates.passes import count_passes, count_rows

    recipe, manifest = tiny
    rows = count_rows(recipe, manifest)
    member = recipe.members[0]
    full = count_passes(member, recipe, rows, decode_all=True)
    for settings in ({"freeze_epochs": 1}, {"sizes": (16, 32)}, {"train_share": 0.5}):
        cheaper = replace(member, training=replace(member.training, **settings))
        assert 0.4 < count_passes(cheaper, recipe, rows, decode_all=True).trained / full.trained < 0.8


def test_weights_have_the_bytes_that_are_written(tiny, tmp_path):
    import torch

    from base_models.runs.out_of_fold import run_training
    from experiments.estimates.estimate import estimate, try_member
    from experiments.estimates.passes import count_passes, count_rows

    recipe, manifest = tiny
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    findings = {fact.topic: fact.finding for fact in estimate(recipe, manifest)}
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
    crews = "1 process of 1 thread|2 processes side by side, 1 thread each"  # as torch has one thread or more
    assert re.search(f"30 photos × 6 labels, 2 folds, ({crews}): about ", findings["recipe"])
    assert "24 training and 6 test" in findings["recipe"]
    passes = count_passes(recipe.members[0], recipe, count_rows(recipe, manifest), decode_all=True)
    cost = try_member(recipe.members[0], recipe, manifest, passes)
    run = run_training(recipe, tmp_path / "run", device="cpu")
    written = (run / "members" / "whole" / "fold0" / "weights.safetensors").stat().st_size
    assert cost.weight_bytes == pytest.approx(written, rel=0.1)
    assert cost.seconds > 0 and cost.peak_bytes >= 0


def test_a_method_costs_its_fits_and_rows(make_predictions, monkeypatch):
    from experiments.estimates import estimate_predictions as module

    monkeypatch.setattr(module, "_seconds_of", lambda name, few: 0.3 + 0.002 * few.n_samples)  # per cross-fitting
    predictions = make_predictions(1200)
    cost = try_method("mean", predictions)
    assert cost.cross_fitted(900, TRIED_FOLDS) == pytest.approx(0.3 + 0.002 * 900)
    assert cost.cross_fitted(9000, TRIED_FOLDS) == pytest.approx(0.3 + 0.002 * 9000)
    assert MethodCost("a", 1.0, 0.0).cross_fitted(1, 5) == 6.0
    few = try_method("mean", make_predictions(100))
    assert few.cross_fitted(100, TRIED_FOLDS) == pytest.approx(0.5)


def test_predictions_get_time_and_memory(make_predictions):
    findings = {fact.topic: fact.finding for fact in estimate_predictions(make_predictions(200))}
    assert findings["fit"].startswith("3 models × 200 samples × 5 labels: about ")
    assert "of memory" in findings["compare"] and "with all methods" in findings["compare"]
    assert sum(topic.startswith("method ") for topic in findings) == 3


def test_predictions_without_truth_are_refused(make_predictions):
    with pytest.raises(ValueError, match="predictions must carry the truth, as fit and compare need it"):
        estimate_predictions(make_predictions(40, y_true=None))


def test_doctor_takes_predictions_or_a_recipe_but_not_both(labelstack, bundle):
    done = labelstack("doctor", bundle)
    assert done.exit_code == 0, done.output
    assert "fit: 3 models × 160 samples × 5 labels: about " in done.stdout
    both = labelstack("doctor", bundle, "--recipe", "r.toml")
    assert both.exit_code == 2 and "give one recipe" in both.stderr


def test_methods_that_do_not_fit_in_memory_are_named(make_predictions, monkeypatch):
    from experiments.estimates import estimate_predictions as module
    from stacking.combiners.meta_learners.label_context import LabelContextStacker

    monkeypatch.setattr(LabelContextStacker, "memory_needed", lambda self, *size: 1e15)
    findings = {fact.topic: fact for fact in module.estimate_predictions(make_predictions())}
    assert "refused" in findings["memory of label-context"].trouble
    assert "of memory" in findings["fit"].finding


def test_a_recipe_is_tried_on_the_card_where_there_is_one(tiny, monkeypatch):
    """The card is made up: what is asked of it is recorded, in order."""
    import torch

    from base_models import device as devices
    from base_models.networks.network import MultilabelNetwork
    from base_models.runs import out_of_fold
    from base_models.training import epoch, learner, scoring
    from experiments.estimates import estimate as estimates

    done = []

    def create_learner(task, network, precision, device):
        done.append((precision, device))
        return SimpleNamespace(network=network, precision=precision, device=device)

    card = SimpleNamespace(name="NVIDIA H200")
    monkeypatch.setattr(learner, "create_learner", create_learner)
    monkeypatch.setattr(learner, "choose_precision", lambda *_, **__: ("bfloat16", {}))
    monkeypatch.setattr(epoch, "train_epoch", lambda learner, task, _: done.append(("train", learner.device)))
    monkeypatch.setattr(scoring, "score_photos", lambda *given: done.append(("score", given[-1])))
    monkeypatch.setattr(out_of_fold, "choose_device", lambda asked: {"auto": "cuda"}[asked])
    monkeypatch.setattr(MultilabelNetwork, "to", lambda self, *_, **__: self)
    monkeypatch.setattr(devices, "synchronize", lambda device: device == "cuda" and done.append("wait"))
    monkeypatch.setattr(devices, "own_generators", lambda _: [])
    monkeypatch.setattr(devices, "free_memory", lambda _: 2**36)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    recipe, manifest = tiny
    training = replace(recipe.members[0].training, precision="auto")
    findings = estimates.estimate(replace(recipe, members=(replace(recipe.members[0], training=training),)), manifest)
    train, score = ("train", "cuda"), ("score", "cuda")
    warm = [train] * estimates.PASSES_BEFORE
    assert done == ["wait", ("bfloat16", "cuda"), *warm, "wait", train, "wait", score, "wait", score, "wait"]
    assert "on NVIDIA H200 (cuda)" in findings[-1].finding
    assert "in bfloat16: " in findings[0].finding and "side by side" in findings[0].finding


def test_what_holds_a_member_up_is_named_with_what_to_change(tiny, monkeypatch):
    from experiments.estimates import run_cost
    from experiments.estimates.run_cost import MemberCost, advise, describe_parts

    recipe, manifest = tiny
    name, recipe = recipe.members[0].name, replace(recipe, cache="none", photos_gib=0.0)

    def cost(device_bytes=0, **parts):
        return MemberCost(name, 10.0, 0, 0, {"decoding": 1.0, "copying": 0.0, "arithmetic": 2.0, **parts}, device_bytes)

    assert describe_parts(cost(decoding=5.0), "cpu") == "in float32: decoding 50 %, arithmetic 20 % of the time"
    assert advise(cost(), recipe, manifest, "cpu") == []
    (said,) = advise(cost(decoding=5.0), recipe, manifest, "cpu")
    assert "decoded in every epoch" in said and "photos_gib = 1 packs them once" in said
    assert advise(cost(decoding=5.0), replace(recipe, cache="memory"), manifest, "cpu") == []
    assert advise(cost(decoding=5.0), replace(recipe, photos_gib=1.0), manifest, "cpu") == []
    monkeypatch.setattr(run_cost, "device_memory", lambda _: 8 * 2**30)
    copies, idle, full = advise(cost(9 * 2**30, copying=5.0), recipe, manifest, "cuda")
    assert "copying photos takes longest" in copies and 'precision = "auto"' in idle
    assert "9.0 GiB do not fit into the 8.0 of the device" in full and "lower batch_size from 6" in full


def test_a_disk_that_is_too_small_is_named(tiny, monkeypatch):
    from experiments.estimates import estimate as module
    from experiments.estimates.run_cost import MemberCost, RowCounts, RunCost

    member, rows = MemberCost("whole", 1.0, 2**20, 0), RowCounts(1, 1, 1, "few")
    monkeypatch.setattr(module, "estimate_run", lambda *_: RunCost("cpu", (member,), (), 1.0, 0, 2**30, 2**31, rows))
    monkeypatch.setattr(module, "free_disk", lambda _: 2**30)
    assert "only 1.00 GiB are free there" in module.estimate(*tiny)[-1].trouble
    monkeypatch.setattr(module, "free_disk", lambda _: 2**32)
    assert not module.estimate(*tiny)[-1].trouble


@pytest.mark.parametrize(
    ("n_folds", "n_processes", "seconds"),
    [(2, 1, 2 * 60), (2, 2, 60 + 6), (5, 2, 3 * 60 + 6), (5, 4, 2 * 60 + 6), (2, 8, 60 + 6), (5, None, 3 * 60 + 6)],
)
def test_the_time_is_that_of_folds_side_by_side(tiny, monkeypatch, n_folds, n_processes, seconds):
    """A trial of 60 s a fold: the processes that train would start decide how long the run takes."""
    import torch

    from experiments.estimates import crew
    from experiments.estimates import estimate as module
    from experiments.estimates.run_cost import MemberCost

    monkeypatch.setattr(crew, "SECONDS_TO_START", 6.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)  # the real ones stay as they are
    tried = []

    def tried_member(member, run, manifest, passes, device, crew):
        tried.append(crew)
        return MemberCost(member.name, 60.0 * n_folds / crew.n_at_once, 2**20, 2**30, fold_seconds=60.0)

    monkeypatch.setattr(module, "try_member", tried_member)
    run = replace(tiny[0], folds=replace(tiny[0].folds, n_folds=n_folds), n_threads=0)
    cost = module.estimate_run(run, tiny[1], "cpu", n_processes)
    assert cost.seconds == pytest.approx(seconds)
    used = min(n_processes or 2, n_folds)
    assert tried == [cost.crew] and len(cost.crew.devices) == used
    assert cost.crew.n_threads == max(1, 2 // (n_processes or 2))
    assert (cost.memory_bytes >= used * 2**30) and (used > 1 or cost.memory_bytes < 1.1 * 2**30)
    assert cost.waiting == pytest.approx(1 - n_folds / (-(-n_folds // used) * used))
    said = module.estimate(run, tiny[1], "cpu", n_processes=n_processes)[-1].finding
    assert f"{n_folds} folds, {cost.crew.describe()}: about " in said
    assert ("waiting for the last networks" in said) == (n_folds == 5)
    assert (
        cost.crew.describe()
        == {
            1: "1 process of 2 threads",
            2: "2 processes side by side, 1 thread each",
            4: "4 processes side by side, 1 thread each",
        }[used]
    )


def test_what_folds_share_out_and_what_they_do_not(tiny, monkeypatch):
    """Decoding before the folds is done once however many train; arithmetic and decoding in epochs are shared out."""
    from experiments.estimates import estimate as module
    from experiments.estimates.crew import Crew
    from experiments.estimates.passes import Passes

    monkeypatch.setattr(module, "_seconds_of_passes", lambda *_: (0.5, 0.25))
    monkeypatch.setattr(module, "_n_packing", lambda *_: 2)
    monkeypatch.setattr(module, "_timed", lambda *_: 3.0)  # of 30 photos
    recipe, manifest, two = tiny[0], tiny[1], Crew(("cpu", "cpu"))

    def tried(crew, once, **ways):
        passes = Passes(trained=100.0, scored=40.0, decoded=30.0, once=once)
        member = replace(recipe, **ways).members[0]
        return module.try_member(member, replace(recipe, **ways), manifest, passes, "cpu", crew)

    packed = tried(two, once=True, photos_gib=1.0)
    assert packed.parts == {"decoding": 1.5, "copying": 0.0, "arithmetic": 30.0} and packed.before == 1.5
    assert packed.fold_seconds == pytest.approx(30.0, abs=10)  # and the time to build a network
    assert packed.seconds == pytest.approx(31.5, abs=10)
    kept = tried(two, once=True, photos_gib=0.0, cache="memory")
    assert kept.before == kept.parts["decoding"] == 3.0  # every process for itself
    unkept = tried(two, once=False, photos_gib=0.0, cache="none")
    assert unkept.parts["decoding"] == 1.5 and unkept.before == 0 and unkept.fold_seconds == pytest.approx(31.5, abs=10)
    alone = tried(None, once=True, photos_gib=1.0)
    assert alone.parts["arithmetic"] == 60.0 and alone.fold_seconds == pytest.approx(packed.fold_seconds, abs=10)


def test_processes_on_one_card_take_turns_and_share_its_memory(monkeypatch):
    import torch

    from experiments.estimates.crew import Crew

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Crew(("cuda:0", "cuda:0")).n_at_once == 1 and Crew(("cuda:0", "cuda:0")).n_on_a_device == 2
    spread = Crew(("cuda:0", "cuda:1"), 8)
    assert (spread.n_at_once, spread.n_on_a_device, spread.seconds([4.0] * 3)) == (2, 1, 8.0)
    assert spread.describe() == "2 processes side by side"


def test_doctor_refuses_processes_without_a_recipe(labelstack, bundle):
    done = labelstack("doctor", bundle, "--processes", "2")
    assert done.exit_code == 2 and "--gpus and --processes are for a recipe" in done.stderr
