"""The mutants: lines that must not be lost, how to break each, and the tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One broken line.

    `old` must occur in `file` exactly once: when the line changes, the mutant must change with it, or what it guards is
    no longer tried.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, source: str) -> str:
        """Return the broken source."""
        times = source.count(self.old)
        if times != 1:
            raise ValueError(
                f"mutant {self.name!r} must find its line once in {self.file}: found {times} times; adapt it to the "
                f"source. Looked for: {self.old!r}"
            )
        return source.replace(self.old, self.new)


CANARY = "tests/base_models/runs/test_canary.py"

MUTANTS = (
    Mutant(
        "a fold's network trains on the held-out fold too",
        "base_models/runs/out_of_fold.py",
        "(data.fold != fold) & ~data.validation[:, fold]",
        "~data.validation[:, fold]",
        (f"{CANARY}::test_random_labels_learned_by_heart_score_chance_out_of_fold",),
    ),
    Mutant(
        "a fold's network trains on the held-out fold and nothing else",
        "base_models/runs/out_of_fold.py",
        "(data.fold != fold) & ~data.validation[:, fold]",
        "(data.fold == fold)",
        (f"{CANARY}::test_random_labels_learned_by_heart_score_chance_out_of_fold",),
    ),
    Mutant(
        "early stop and best epoch on the held-out rows",
        "base_models/runs/out_of_fold.py",
        "            np.flatnonzero(data.validation[:, fold]),\n",
        "            np.flatnonzero(data.fold == fold),\n",
        (f"{CANARY}::test_the_truth_of_held_out_rows_moves_no_bit_of_the_network_that_scores_them",),
    ),
    Mutant(
        "photos of one group in several folds",
        "base_models/runs/splits.py",
        "stratified_group_folds(y_true[train], folds.n_folds, groups=inside,",
        "stratified_group_folds(y_true[train], folds.n_folds, groups=None,",
        (f"{CANARY}::test_near_copies_of_one_group_betray_nothing",),
    ),
    Mutant(
        "a holdout that splits groups or learns from itself",
        "base_models/runs/splits.py",
        'rest = np.flatnonzero((split == "train") & (fold != k))',
        'rest = np.flatnonzero(split == "train")',
        (f"{CANARY}::test_the_truth_of_held_out_rows_moves_no_bit_of_the_network_that_scores_them",),
    ),
    Mutant(
        "a scored chunk of the other rows",
        "base_models/runs/fold_chunks.py",
        "np.flatnonzero(data.fold == task.fold)",
        "np.flatnonzero((data.fold >= 0) & (data.fold != task.fold))",
        (f"{CANARY}::test_random_labels_learned_by_heart_score_chance_out_of_fold",),
    ),
    Mutant(
        "specialists counted on the held-out fold's own labels alone",
        "base_models/runs/out_of_fold.py",
        "y_true = np.ascontiguousarray(data.y_true[:, columns])",
        "y_true = np.ascontiguousarray(data.y_true[:, columns[::-1]])",
        (f"{CANARY}::test_the_same_networks_know_their_own_rows_by_heart",),
    ),
)
