"""Mutants of optimizers and stacking: predictions, files and weight search."""

from mutant import Mutant

BASE, STACK = "tests/base_models", "tests/stacking"
MEMORY = f"{STACK}/test_canary.py"
DAMAGED = "tests/test_damaged_files.py::test_every_file_is_checked_by_its_bytes_and_not_by_its_time"
ATOMIC = f"{STACK}/files/test_atomic_files.py"
OUTPUT = "tests/experiments/cli/test_output_rules.py"
PLANTED = "tests/experiments/cli/test_planted_files.py"
STORE = f"{STACK}/predictions/forms/test_store.py"
RULES = f"{STACK}/decision_rules/test_rule_registry.py"
COUNTS = f"{STACK}/test_what_counts.py"
TREES = f"{STACK}/combiners/meta_learners/trees/test_tree_text.py"
NAMED = f"{STACK}/named_arrays"
TWINS = f"{STACK}/kernels/test_twins.py"

STACKING = (
    Mutant(
        "a combiner is cross-fitted on all rows",
        "stacking/combiners/combiner.py",
        "combiner.fit(predictions.subset(samples=~held)).predict_proba(",
        "combiner.fit(predictions).predict_proba(",
        (f"{MEMORY}::test_cross_fitted_scores_of_a_memory_are_chance",),
    ),
    Mutant(
        "groups split by the folds of an ensemble",
        "stacking/folds.py",
        "stratified_group_folds(truth.y_true, n_splits, groups=truth.groups,",
        "stratified_group_folds(truth.y_true, n_splits, groups=None,",
        (
            f"{MEMORY}::test_an_ensemble_reports_what_its_memory_is_worth_on_new_rows",
            f"{STACK}/test_cross_fitting.py::test_groups_stay_together",
        ),
    ),
    Mutant(
        "thresholds tuned on the rows that they judge",
        "stacking/decision_rules/choice.py",
        "self.tune(rule, ~held, metric)",
        "self.tune(rule, held | True, metric)",
        (f"{STACK}/test_cross_fitting.py::test_thresholds_are_tuned_on_the_other_folds_only",),
    ),
    Mutant(
        "weights dropped in nested decisions",
        "stacking/decision_rules/choice.py",
        "tune_rule(self.y_score[rows], self.predictions.truth.rows(rows), rule, metric, self.answered)",
        "tune_rule(self.y_score[rows], Truth(self.predictions.truth.y_true[rows]), rule, metric, self.answered)",
        (f"{STACK}/test_nested_weights.py",),
    ),
    Mutant(
        "unknown cells tune nested decisions",
        "stacking/decision_rules/labeled_scores.py",
        "        known = self.answered_truth.y_known\n",
        "        known = None\n",
        (f"{STACK}/test_nested_weights.py",),
    ),
    Mutant(
        "a comparison fits on the rows that it scores",
        "stacking/comparison/splits.py",
        "predictions.subset(samples=np.flatnonzero(outer != fold))",
        "predictions.subset(samples=np.flatnonzero(outer >= 0))",
        (f"{MEMORY}::test_a_comparison_of_memories_finds_chance",),
    ),
    Mutant(
        "groups split by the folds of a comparison",
        "stacking/comparison/splits.py",
        "deal_folds(predictions.truth, n_splits,",
        "deal_folds(predictions.with_groups(None).truth, n_splits,",
        (f"{STACK}/comparison/test_compare.py::test_groups_are_not_split_and_are_resampled_together",),
    ),
    Mutant(
        "groups split by the folds of the classifier",
        "stacking/multilabel_classifier.py",
        "sample_weight=sample_weight, groups=groups)",
        "sample_weight=sample_weight)",
        (f"{MEMORY}::test_bases_that_remember_hand_on_chance",),
    ),
    Mutant(
        "base classifiers scored on the rows that they were fitted on",
        "stacking/multilabel_classifier.py",
        "scores[base, folds == fold] = part",
        "scores[base, folds == fold] = fit_base(self._parts[base][1], X, indicators, weight).predict_proba(X)"
        "[folds == fold]",
        (f"{MEMORY}::test_bases_that_remember_hand_on_chance",),
    ),
    Mutant(
        "intervals from samples where groups err together",
        "stacking/truth.py",
        "        if groups is None:\n            return values",
        "        return values",
        (f"{STACK}/comparison/test_intervals.py::test_copies_in_one_group_make_nothing_surer",),
    ),
    Mutant(
        "a kept piece that ignores the truth",
        "stacking/combiners/meta_learners/trees/label_inputs.py",
        "cache_key(rows.logits, rows.y_true, rows.weight, rows.usable)",
        "cache_key(rows.logits, rows.weight, rows.usable)",
        (f"{STACK}/files/test_result_cache.py::test_a_folder_of_other_data_answers_nothing",),
    ),
    Mutant(
        "a kept piece that ignores its values",
        "stacking/files/result_cache.py",
        'digest.update(np.ascontiguousarray(part).data.cast("B") if part.size else b"")',
        'digest.update(b"")',
        (f"{STACK}/files/test_result_cache.py::test_a_piece_depends_on_all_that_it_is_made_of",),
    ),
    Mutant(
        "rows that were fitted on are not recognized",
        "stacking/ensemble/seen_samples.py",
        "return np.isin(hashes, fitted)",
        "return np.zeros(len(hashes), dtype=np.bool_)",
        (f"{STACK}/ensemble/test_seen_samples.py",),
    ),
    Mutant(
        "scores by the members' positions, not their names",
        "stacking/predictions/alignment.py",
        "if np.array_equal(there, needed):",
        "if len(there) == len(needed):",
        (f"{STACK}/predictions/forms/test_loading.py::test_tables_are_aligned_by_id_and_label",),
    ),
)

TRUTH = (
    Mutant(
        "weights have a unit",
        "stacking/truth.py",
        "np.maximum(sample_weight / least, 1.0)",
        "sample_weight",
        (f"{COUNTS}::test_weights_keep_their_ratios_and_lose_their_unit", f"{COUNTS}::test_metrics"),
    ),
    Mutant(
        "rows of weight 0 deal folds",
        "stacking/truth.py",
        "            counted &= self.sample_weight > 0\n",
        "            pass\n",
        (f"{COUNTS}::test_folds_holdouts_and_samples",),
    ),
    Mutant(
        "the truth of unknown cells deals folds",
        "stacking/truth.py",
        "self.y_true & self.y_known",
        "self.y_true",
        (f"{COUNTS}::test_folds_holdouts_and_samples", f"{COUNTS}::test_metrics", f"{COUNTS}::test_ensembles"),
    ),
    Mutant(
        "blank groups are one group",
        "stacking/truth.py",
        "        number[blank] = len(names) - 1 + np.arange(np.count_nonzero(blank))\n",
        "",
        (f"{COUNTS}::test_a_blank_group_is_a_group_of_its_own",),
    ),
    Mutant(
        "rounding decides ties",
        "stacking/ties.py",
        "value - bound > TIED * size",
        "value - bound > 0",
        (f"{COUNTS}::test_what_only_rounding_tells_apart_is_a_tie",),
    ),
    Mutant(
        "image rules left out of the estimate",
        "stacking/ensemble/ensemble.py",
        "held_out, predictions, folds, decide=self._decide, rule=self.rule, tuner=tuner, metric=metric",
        "held_out, predictions, folds, rule=self.rule, tuner=tuner, metric=metric",
        (f"{COUNTS}::test_the_estimate_keeps_the_image_rules",),
    ),
    Mutant(
        "image rules of the final estimator forgotten",
        "stacking/multilabel_classifier.py",
        "return self.final_estimator_.decide(y_score, None if own else self.thresholds_)",
        "return y_score >= self.thresholds_",
        (f"{COUNTS}::test_the_classifier_keeps_the_image_rules_of_its_final_estimator",),
    ),
)

DECISIONS = (
    Mutant(
        "> for >= of thresholds, float64",
        "stacking/decision_rules/thresholds.py",
        "return scores >= limits",
        "return scores > limits",
        (RULES,),
    ),
    Mutant(
        "> for >= of thresholds, float32",
        "stacking/decision_rules/thresholds.py",
        "return scores >= float32_limits(limits)",
        "return scores > float32_limits(limits)",
        (RULES,),
    ),
    Mutant(
        "float32 thresholds rounded down",
        "stacking/decision_rules/thresholds.py",
        "np.nextafter(narrow, np.float32(np.inf))",
        "narrow",
        (f"{RULES}::test_float32_decides_as_float64_would",),
    ),
    Mutant(
        ">= 1 counts as never predicted",
        "stacking/decision_rules/thresholds.py",
        "np.asarray(array > 1.0,",
        "np.asarray(array >= 1.0,",
        (f"{RULES}::test_never_predicted_reads_thresholds_and_decisions",),
    ),
    Mutant(
        "exact thresholds sorted too short",
        "stacking/decision_rules/exact_micro_f1.py",
        "(1.0 + beta * beta) * histograms.positives / price",
        "0.5 * histograms.positives / price",
        (f"{STACK}/decision_rules/test_exact_rules.py::test_pruning_loses_nothing_even_for_uncalibrated_scores",),
    ),
    Mutant(
        "y_known ignored by the metrics",
        "stacking/metrics/_cells.py",
        "truth, decided = truth & known, decided & known",
        "truth, decided = truth & known, decided",
        (f"{STACK}/metrics/test_metrics.py::test_unknown_cells_count_neither_way",),
    ),
    Mutant(
        "y_known ignored by standard errors",
        "stacking/truth.py",
        "decided = decided & self.y_known",
        "decided = decided",
        (f"{STACK}/metrics/test_paired_difference.py::test_unknown_cells_and_weights_count",),
    ),
    Mutant(
        "per-label thresholds without proof",
        "stacking/decision_rules/choice.py",
        "gain.is_proven() if grouped else gain.exceeds(margin)",
        "gain.gain > -1.0",
        (f"{STACK}/decision_rules/test_choice.py",),
    ),
)

FILES = (
    Mutant(
        "an atomic write without fsync",
        "stacking/files/atomic_files.py",
        "            if sync:\n                os.fsync(file.fileno())\n",
        "",
        (f"{ATOMIC}::test_the_file_is_synced_before_it_is_renamed",),
    ),
    Mutant(
        "an atomic write without syncing its folder",
        "stacking/files/atomic_files.py",
        "            os.fsync(descriptor)\n",
        "            pass\n",
        (f"{ATOMIC}::test_the_file_is_synced_before_it_is_renamed",),
    ),
    Mutant(
        "an atomic write under the final name",
        "stacking/files/atomic_files.py",
        "    temporary = temporary_path(target.parent, target.name)\n    try:",
        "    temporary = target\n    target.unlink(missing_ok=True)\n    try:",
        (f"{ATOMIC}::test_an_exception_keeps_the_old_file",),
    ),
    Mutant(
        "the lock of a folder removed",
        "stacking/files/run_lock.py",
        "                lock.acquire()\n",
        "                pass\n",
        (f"{ATOMIC}::test_two_runs_in_one_folder",),
    ),
    Mutant(
        "the sweep takes what only looks like a temporary file",
        "stacking/files/atomic_files.py",
        "    return _TEMP_NAME.fullmatch(name) is not None",
        '    return name.startswith(".tmp-")',
        (f"{ATOMIC}::test_sweep_removes_only_temporaries",),
    ),
    Mutant(
        "free space is not asked for",
        "stacking/files/atomic_files.py",
        "    if free < needed:\n",
        "    if free < SPARE_BYTES:\n",
        (f"{ATOMIC}::test_too_little_space",),
    ),
    Mutant(
        "space is not reserved",
        "stacking/files/atomic_files.py",
        "            os.posix_fallocate(file.fileno(), 0, n_bytes)\n",
        "            os.ftruncate(file.fileno(), n_bytes)\n",
        (f"{ATOMIC}::test_preallocate",),
    ),
    Mutant(
        "a store's hash is not checked",
        "stacking/predictions/forms/store_index.py",
        'if hashing and sha256_file(path) != entry["sha256"]:',
        "if False:",
        (DAMAGED,),
    ),
    Mutant(
        "an ensemble's hash is not checked",
        "stacking/ensemble/folder.py",
        "if hashlib.sha256(data).hexdigest() != digest:",
        "if False:",
        (f"{STACK}/ensemble/test_ensemble.py::test_every_changed_file_is_refused",),
    ),
    Mutant(
        "a path leaves the folder of the ensemble",
        "stacking/ensemble/folder.py",
        "        if _FILE_NAME.fullmatch(name) is None:\n",
        "        if False:\n",
        (f"{STACK}/ensemble/test_ensemble.py::test_a_manifest_cannot_name_files_outside",),
    ),
    Mutant(
        "a link leaves the folder of the ensemble",
        "stacking/files/untrusted.py",
        "if link is not None or",
        "if",
        (f"{STACK}/ensemble/test_strangers_ensembles.py::test_links_are_refused",),
    ),
    Mutant(
        "a path leaves the folder of the store",
        "stacking/predictions/forms/store_index.py",
        "if not all(_is_store_file(name) for name in [*named, *index.files]):",
        "if False:",
        (f"{STORE}::test_a_damaged_index",),
    ),
    Mutant(
        "the manifest is moved first",
        "stacking/files/output_folder.py",
        '"moves": [*sorted(written), marker]',
        '"moves": [marker, *sorted(written)]',
        (f"{STORE}::test_killed_at_any_moment",),
    ),
    Mutant(
        "a result of someone else is replaced",
        "stacking/files/output_folder.py",
        "        if not owned and foreign:\n",
        "        if False:\n",
        (f"{OUTPUT}::test_one_file_of_the_users_is_enough",),
    ),
    Mutant(
        "an earlier result is replaced unasked",
        "stacking/files/output_folder.py",
        "        if owned and not self.overwrite and not self.is_there:\n",
        "        if False:\n",
        (f"{OUTPUT}::test_an_earlier_result_is_replaced_only_when_asked",),
    ),
    Mutant(
        "a manifest may name files elsewhere for deletion",
        "stacking/files/output_rules.py",
        "    if not pure.parts or pure.is_absolute() or",
        "    if False and",
        (f"{OUTPUT}::test_a_manifest_that_names_files_elsewhere_deletes_nothing",),
    ),
    Mutant(
        "an output may be its input",
        "stacking/files/output_rules.py",
        "if target.exists() and source.exists() and target.samefile(source):",
        "if False:",
        (f"{OUTPUT}::test_an_output_that_is_an_input_by_another_spelling",),
    ),
    Mutant(
        "links, devices and pipes are replaced",
        "stacking/files/atomic_files.py",
        "    if stat.S_ISREG(mode):\n        return\n    place",
        "    if not stat.S_ISDIR(mode):\n        return\n    place",
        (f"{OUTPUT}::test_what_is_no_file_of_ours_is_never_replaced",),
    ),
    Mutant(
        "workers run Python files of the working directory",
        "stacking/process/child_processes.py",
        '    os.environ[_VARIABLE] = "1"\n    try:\n',
        "    try:\n",
        (f"{PLANTED}::test_workers_of_joblib_in_a_script_of_the_users_own",),
    ),
    Mutant(
        "a row of a store may be written twice",
        "stacking/predictions/forms/store.py",
        "            if twice.any():\n                row = str(",
        "            if False:\n                row = str(",
        (f"{STORE}::test_each_row_exactly_once",),
    ),
    Mutant(
        "a row of a store may never be written",
        "stacking/predictions/forms/store.py",
        "            self._check_complete()\n",
        "",
        (f"{STORE}::test_each_row_exactly_once",),
    ),
    Mutant(
        "a saved class is looked up anywhere",
        "stacking/combiners/state.py",
        'found = _classes().get(name.rpartition(":")[2])',
        'found = getattr(__import__(name.partition(":")[0], fromlist=["x"]), name.partition(":")[2], None)',
        (f"{STACK}/ensemble/test_ensemble.py::test_a_class_of_somebody_else_is_not_imported",),
    ),
    Mutant(
        "a page runs what names say",
        "stacking/report/page_environment.py",
        "autoescape=True",
        "autoescape=False",
        (f"{STACK}/report/test_rendering.py::test_hostile_names_do_nothing_in_html",),
    ),
    Mutant(
        "a spreadsheet runs what cells say",
        "stacking/files/csv_cells.py",
        'return "\'" + cell if cell.startswith(_FORMULA_STARTS) and not _is_number(cell) else cell',
        "return cell",
        ("tests/experiments/test_submission.py",),
    ),
)

STRANGERS = (
    Mutant(
        "a node of a stranger's tree leads anywhere",
        "stacking/combiners/meta_learners/trees/tree_text.py",
        "        if not fine.all():\n",
        "        if False:\n",
        (f"{TREES}::test_what_is_no_sound_model_is_refused_with_its_reason",),
    ),
    Mutant(
        "a node of a stranger's tree has two parents",
        "stacking/combiners/meta_learners/trees/tree_text.py",
        "    if not np.array_equal(parents, expected):\n",
        "    if False:\n",
        (f"{TREES}::test_what_is_no_sound_model_is_refused_with_its_reason",),
    ),
    Mutant(
        "a stranger's tree reads features that are not there",
        "stacking/combiners/meta_learners/trees/tree_text.py",
        "    if len(features) and not (features.min()",
        "    if False and not (features.min()",
        (f"{TREES}::test_what_is_no_sound_model_is_refused_with_its_reason",),
    ),
    Mutant(
        "an ensemble is handed out untried",
        "stacking/ensemble/folder.py",
        "        _try_combiner(combiner)\n",
        "",
        (f"{STACK}/ensemble/test_strangers_ensembles.py::test_any_part_of_the_state_may_be_another",),
    ),
    Mutant(
        "an archive may unpack to anything",
        "stacking/files/untrusted.py",
        "    if unpacked > SMALL_ARCHIVE and unpacked > MOST_RATIO * packed:\n",
        "    if False:\n",
        (
            f"{STACK}/predictions/forms/test_strangers_stores.py::test_a_bomb_is_refused_by_its_ratio_before_it_is_unpacked",
        ),
    ),
    Mutant(
        "JSON of a stranger may be nested as deep as it likes",
        "stacking/files/untrusted.py",
        "        check_depth(value)\n",
        "",
        (f"{STACK}/files/test_depth.py",),
    ),
    Mutant(
        "data frames go by position",
        "stacking/named_arrays/arguments.py",
        "read[name] = read[name].take(to_first, place[name]).take(to_given, place[name])",
        "read[name] = read[name]",
        (f"{NAMED}/test_every_entry.py",),
    ),
    Mutant(
        "a mask is dropped",
        "stacking/named_arrays/reading.py",
        "mask if mask.any() else None",
        "None",
        (f"{NAMED}/test_masks_and_values.py",),
    ),
)

KERNELS = (
    Mutant(
        "> for >= of mixed scores",
        "stacking/kernels/weights.py",
        "count += np.int32(mixed[j] >= cut)",
        "count += np.int32(mixed[j] > cut)",
        (f"{STACK}/kernels/test_weights.py",),
    ),
    Mutant(
        "> for >= of mixed scores of weighted rows",
        "stacking/kernels/weights.py",
        "                        if mixed[j] >= cut:\n",
        "                        if mixed[j] > cut:\n",
        (f"{STACK}/kernels/test_weights.py",),
    ),
    Mutant(
        "> for >= where a cell always fires",
        "stacking/kernels/weights.py",
        "if bottom[label] >= high:",
        "if bottom[label] > high:",
        (f"{STACK}/kernels/test_weights.py",),
    ),
    Mutant(
        "beta is left out of a label's own F",
        "stacking/kernels/cuts.py",
        "(square * positives[label] + fired[cut])",
        "(positives[label] + fired[cut])",
        (f"{STACK}/kernels/test_cuts.py",),
    ),
    Mutant(
        "beta is left out above the line of a label's own F",
        "stacking/kernels/cuts.py",
        "f1 = (1.0 + square) * hits[cut]",
        "f1 = 2.0 * hits[cut]",
        (f"{STACK}/kernels/test_cuts.py",),
    ),
    Mutant(
        "the grid is not mirrored at .5",
        "stacking/kernels/weights.py",
        "place[j] = spot if mixed[j] < np.float32(0.5) else np.int32(2 * GRID_HALF) - spot",
        "place[j] = spot",
        (TWINS, f"{STACK}/kernels/test_weights.py"),
    ),
    Mutant(
        "ties fire most instead of fewest",
        "stacking/kernels/cuts.py",
        "            if gain > best:\n",
        "            if gain >= best:\n",
        (TWINS, f"{STACK}/kernels/test_cuts.py"),
    ),
    Mutant(
        "a tie of a negative and a positive counts whole in ROC AUC",
        "stacking/kernels/labels.py",
        "            w *= 0.5\n",
        "            w *= 1.0\n",
        (TWINS, f"{STACK}/combiners/voting/objectives/test_per_label.py"),
    ),
    Mutant(
        "a pattern at the cut falls below it",
        "stacking/kernels/labels.py",
        "while low < end and edge[low] > pattern:",
        "while low < end and edge[low] >= pattern:",
        (TWINS, f"{STACK}/combiners/voting/objectives/test_per_label.py"),
    ),
)

MUTANTS = (
    *STACKING,
    *KERNELS,
    *TRUTH,
    *DECISIONS,
    *FILES,
    *STRANGERS,
)
