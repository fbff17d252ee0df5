"""Write a first recipe with comments: what was understood, what was chosen and why, and what may be changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.estimates.doctor import duration
from experiments.recipe.types import write_value

if TYPE_CHECKING:
    from base_models.recipe.run import TrainingRun
    from base_models.recipe.training import TrainingConfig
    from experiments.recipe.choosing import Choice
    from experiments.recipe.understanding import GivenData, Understanding

DATA_COMMENTS = {
    "id_column": "the column of the photos' file names or ids",
    "labels_column": "the column of their labels",
    "label_separator": "what separates them",
    "group_column": "photos of one group never part: the one is not scored by a network that has seen the other",
    "split_column": "train, validation or test; the test photos are scored and never trained on",
}
MEMBER_COMMENTS = {
    "size": "pixels; time and memory grow with its square",
    "weights": '"hub" fetches ImageNet weights, "none" starts from scratch; a file is possible too',
}
TRAINING_COMMENTS = {
    "batch_size": "photos per step",
    "augmentation": '"none", "mirror", "light" or "strong": random changes of the photos',
    "precision": '"float32", or "bfloat16" where the hardware has it',
    "epochs": "how often every photo is shown",
    "learning_rate": "at its peak",
}


@dataclass(frozen=True)
class FirstRecipe:
    """A recipe that was begun for somebody.

    Attributes
    ----------
    text : str
        The TOML file, with comments.
    run : TrainingRun
        What it says.
    facts : tuple of str
        What was understood and chosen, one line each.
    """

    text: str
    run: TrainingRun
    facts: tuple[str, ...]


@dataclass(frozen=True)
class FirstPlan:
    """What a first recipe has to keep to.

    Attributes
    ----------
    hours : float, default=2
        How long the run may take on this machine.
    size : int, optional
        Side of the photos in pixels; chosen by default.
    device : str, default="auto"
        Where it is to be trained.
    """

    hours: float = 2.0
    size: int | None = None
    device: str = "auto"

    def check(self) -> None:
        """Refuse what cannot be kept to.

        Raises
        ------
        ValueError
            If the time is not positive or the size too small.
        """
        if not self.hours > 0:
            raise ValueError(f"--hours must be positive: got {self.hours:g}.")
        if self.size is not None and self.size < 32:  # the networks shrink a photo by 32
            raise ValueError(f"--size must be at least 32 pixels: got {self.size}.")


def begin_recipe(given: GivenData, folder: Path, plan: FirstPlan | None = None) -> FirstRecipe:
    """Look at photos and labels, measure this machine, and write a recipe.

    Parameters
    ----------
    given : GivenData
        Photos and labels.
    folder : Path
        Where the recipe is to lie.
    plan : FirstPlan, optional
        What to keep to.

    Returns
    -------
    FirstRecipe
        The text is not written to a file.

    Raises
    ------
    ValueError
        If the photos or labels cannot be understood.
    """
    from base_models.runs.out_of_fold import choose_device
    from experiments.recipe.choosing import NETWORKS, choose_run, find_weights
    from experiments.recipe.understanding import understand

    plan = plan or FirstPlan()
    plan.check()
    understood = understand(given, folder)
    device = choose_device(plan.device)
    weights = find_weights([network for _, network in NETWORKS[device.partition(":")[0]]])
    choice = choose_run(
        understood.config,
        understood.manifest,
        weights,
        device=device,
        seconds=plan.hours * 3600,
        size=plan.size,
    )
    facts = (*understood.facts, *weights.facts(), *_say_choice(choice, plan))
    return FirstRecipe(write_recipe(choice.run, understood, facts), choice.run, facts)


def write_recipe(run: TrainingRun, understood: Understanding, facts: Sequence[str]) -> str:
    """Write a run as TOML with comments.

    Parameters
    ----------
    run : TrainingRun
        What was chosen.
    understood : Understanding
        The data.
    facts : sequence of str
        What was understood and chosen, for the head of the file.

    Returns
    -------
    str
        TOML that reads back to the same run.
    """
    return "\n".join(_lines(run, understood, facts)) + "\n"


def _say_choice(choice: Choice, plan: FirstPlan) -> Iterator[str]:
    """Say which size and folds were chosen, and how long it takes."""
    member, folds = choice.run.members[0], choice.run.folds
    scheme = "a holdout" if folds.scheme == "holdout" else f"{folds.n_folds} folds"
    yield f"{len(choice.run.members)} networks at {member.size} pixels, {scheme}: about {duration(choice.seconds)} here"
    if not choice.fits:
        yield (
            f"that is more than the {plan.hours:g} hours of --hours: allow more, train on a GPU, or on fewer photos "
            "(data.n_train)"
        )


def _lines(run: TrainingRun, understood: Understanding, facts: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the file."""
    yield "# A first recipe, written by labelstack init. Change what you like: all keys are listed by labelstack keys."
    yield "#"
    for fact in facts:
        yield from (f"# {line}" for line in _wrap(fact))
    yield ""
    yield f"name = {write_value(run.name)}"
    yield f"seed = {run.seed} # of the starting weights, the order of the photos, and their changes"
    yield ""
    yield "[data] # relative paths start from this file's folder"
    said = {"label_separator", "group_column", "split_column", *understood.columns}
    yield from _values(run.data, {key: text for key, text in DATA_COMMENTS.items() if key in said})
    n_train = len(understood.manifest.split_rows("train"))
    yield f"# n_train = {max(1, n_train // 10)} # train on so many photos only, for a first look"
    yield "# min_label_count = 10 # leave out labels with fewer training photos"
    yield ""
    yield "[folds] # every training photo is scored by networks that have not seen it; the ensemble learns from that"
    if run.folds.scheme == "holdout":
        yield 'scheme = "holdout" # one network per member, scored on a part of the photos; n_folds = 5 is dearer'
    else:
        yield f"n_folds = {run.folds.n_folds} # so many networks per member"
    yield ""
    shared = _shared(run)
    yield "[training] # for all members; a member's own table says what differs"
    yield from _values(shared, TRAINING_COMMENTS)
    yield from _more_settings()
    for place, member in enumerate(run.members):
        yield ""
        yield "[[members]]"
        yield f"name = {write_value(member.name)}"
        yield f"network = {write_value(member.network)}" + (
            " # or any other of labelstack networks" if not place else ""
        )
        comments = MEMBER_COMMENTS if not place else {}
        values = {"size": member.size, "weights": member.weights}
        yield from _values(values, comments)
        own = {key: getattr(member.training, key) for key in ("epochs", "learning_rate")}
        inside = ", ".join(f"{key} = {write_value(value)}" for key, value in own.items())
        yield f"training = {{ {inside} }}"
    yield ""
    yield '# A specialist for rare labels beside the others, and its opposite with labels = "frequent":'
    yield "# [[members]]"
    yield '# name = "rare-labels"'
    yield f"# network = {write_value(run.members[0].network)}"
    yield f"# size = {run.members[0].size}"
    yield '# labels = "rare"'
    yield "# split_count = 100 # a label is frequent with so many training photos"


def _shared(run: TrainingRun) -> dict[str, Any]:
    """Return the training settings that all members have in common."""
    training: TrainingConfig = run.members[0].training
    return {key: getattr(training, key) for key in ("batch_size", "augmentation", "precision")}


def _more_settings() -> Iterator[str]:
    """Yield settings that are tried next, as comments."""
    yield '# class_weights = "inverse-frequency" # heed rare labels more'
    yield "# patience = 3 # stop after so many epochs without a better validation score"
    yield "# flip_tta = true # score every photo and its mirror image"


def _values(values: Any, comments: dict[str, str]) -> Iterator[str]:
    """Yield keys and values, what equals its default left out of a dataclass unless it has a comment here."""
    if dataclasses.is_dataclass(values):
        defaults = {field.name: field.default for field in dataclasses.fields(values)}
        found = {key: getattr(values, key) for key in defaults}
        values = {
            key: value
            for key, value in found.items()
            if value is not None and (value != defaults[key] or key in comments)
        }
    for key, value in values.items():
        comment = f" # {comments[key]}" if key in comments else ""
        yield f"{key} = {write_value(value)}{comment}"


def _wrap(text: str) -> list[str]:
    """Break a fact into lines that fit beside a comment sign."""
    import textwrap

    return textwrap.wrap(text, 116, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
