"""Recipes: refused values, canonical form, defaults for members."""

from dataclasses import replace

import pytest

from base_models.recipe.canonical import canonical_recipe, recipe_hash
from base_models.recipe.data import DataConfig
from base_models.recipe.folds import FoldConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.run import DerivedMember, TrainingRun, merge_training_defaults
from base_models.recipe.training import TrainingConfig

RUN = TrainingRun("r", DataConfig("folder", "photos"), (MemberConfig("a", "resnet50"),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1: got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"freeze_epochs": -1}, "freeze_epochs must not be negative"),
        ({"ema_decay": 1.0}, r"ema_decay must lie in \[0, 1\)"),
        ({"body_learning_rate": 0.0}, r"body_learning_rate must lie in \(0, 1\]"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"layer_decay": 0.0}, r"layer_decay must lie in \(0, 1\]"),
        ({"plateau_factor": 1.0}, r"plateau_factor must lie in \(0, 1\)"),
        ({"sampling_alpha": 1.5}, r"sampling_alpha must lie in \[0, 1\]"),
        ({"train_share": 0.0}, r"train_share must lie in \(0, 1\]"),
        ({"mixup": 0.2, "loss": "zlpr"}, "mixup must be 0 with loss 'zlpr'"),
        ({"cycle_factor": 0.5}, "cycle_factor must be at least 1"),
        ({"cuda_graphs": True, "precision": "float16"}, "cuda_graphs must be false with precision 'float16'"),
    ],
)
def test_training_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**changes)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_member_whose_name_is_no_folder_name_is_refused(name):
    with pytest.raises(ValueError, match="name of a member must be"):
        MemberConfig(name, "resnet50")


def test_other_wrong_configurations_are_refused():
    with pytest.raises(ValueError, match="at least 16 pixels"):
        MemberConfig("a", "resnet50", size=8)
    with pytest.raises(ValueError, match="split_share"):
        MemberConfig("a", "resnet50", split_share=1.0)
    for tiers in ({"tier_counts": ()}, {"tier_counts": (9, 9)}, {"tier_counts": (9, 99), "tier": 3}):
        with pytest.raises(ValueError, match="tier_counts must be ascending counts"):
            MemberConfig("a", "resnet50", labels="tier", **tiers)
    with pytest.raises(ValueError, match="n_folds must be at least 2"):
        FoldConfig(n_folds=1)
    with pytest.raises(ValueError, match="validation_fraction"):
        FoldConfig(validation_fraction=0.6)
    with pytest.raises(ValueError, match=r"holdout_fraction must lie in \(0, .5\]: got 0.6"):
        FoldConfig(scheme="holdout", holdout_fraction=0.6)
    with pytest.raises(ValueError, match="scheme must be one of out-of-fold, holdout, validation-split: got 'once'"):
        FoldConfig(scheme="once")
    with pytest.raises(ValueError, match="new_photos must be one of mean, logit-mean, refit: got 'median'"):
        FoldConfig(new_photos="median")
    with pytest.raises(ValueError, match="new_photos must be left out with scheme 'holdout': it is for 'out-of-fold'"):
        FoldConfig(scheme="holdout", new_photos="refit")
    with pytest.raises(ValueError, match="n_folds must be left out with scheme 'holdout'"):
        FoldConfig(scheme="holdout", n_folds=3)
    with pytest.raises(ValueError, match="holdout_fraction must be left out with scheme 'out-of-fold'"):
        FoldConfig(holdout_fraction=0.3)
    with pytest.raises(ValueError, match="n_workers must be -1, for what suits the device, or a number: got -2"):
        replace(RUN, n_workers=-2)
    with pytest.raises(ValueError, match="at least one member"):
        replace(RUN, members=())
    with pytest.raises(ValueError, match="different names: 'a' occurs more than once"):
        replace(RUN, members=RUN.members * 2)
    with pytest.raises(ValueError, match="must name trained members: got 'b'"):
        replace(RUN, derived=(DerivedMember("d", ("a", "b")),))


def test_the_canonical_form_leaves_defaults_and_neutral_settings_out():
    assert canonical_recipe(RUN) == {
        "name": "r",
        "data": {"format": "folder", "root": "photos"},
        "members": [{"name": "a", "network": "resnet50"}],
    }
    same = replace(RUN, n_threads=2, cache="none", n_workers=3, cache_gib=1.0)
    assert recipe_hash(same) == recipe_hash(RUN)
    assert recipe_hash(replace(RUN, seed=1)) != recipe_hash(RUN)
    # a recipe of the first release keeps its hash, whatever settings came later
    assert recipe_hash(RUN) == "79fc74e0800fb599d17e7a49805511185b565be90952554190259af060ba5063"
    assert recipe_hash(replace(RUN, folds=FoldConfig(scheme="holdout"))) != recipe_hash(RUN)


def test_members_inherit_the_training_table():
    recipe = {
        "training": {"epochs": 3, "batch_size": 8},
        "members": [{"name": "a", "training": {"epochs": 1}}, {"name": "b"}],
    }
    merged = merge_training_defaults(recipe)
    assert [member["training"] for member in merged["members"]] == [
        {"epochs": 1, "batch_size": 8},
        {"epochs": 3, "batch_size": 8},
    ]
    assert "training" in recipe  # the input is left alone


def test_recipes_of_the_first_version_keep_their_hash():
    training = TrainingConfig(epochs=3, loss="focal", keep="last", schedule="cosine", cycle_epochs=1)
    member = MemberConfig("a", "resnet50", labels="rare", split_count=9, training=training)
    run = TrainingRun("r", DataConfig("folder", "photos"), (member,))
    # as computed before any setting was added; a new one whose default is not neutral changes it
    assert recipe_hash(run) == "11ce5ba08f668bd9231909a89d6597588c45c8448c9345cfd1b674668d77eb72"


def test_how_steps_are_started_is_no_part_of_a_recipe_and_what_batch_normalization_sees_is():
    def hash_of(**settings):
        return recipe_hash(MemberConfig("a", "resnet50", training=TrainingConfig(**settings)))

    assert hash_of() == hash_of(cuda_graphs=False) == hash_of(cuda_graphs=True) != hash_of(sync_batch_norm=True)
