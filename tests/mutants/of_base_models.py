"""Mutants of base_models: photos and training."""

from mutant import Mutant

BASE, STACK = "tests/base_models", "tests/stacking"
CANARY = f"{BASE}/runs/test_canary.py"
BY_HEART = f"{CANARY}::test_random_labels_learned_by_heart_score_chance_out_of_fold"
NO_BIT = f"{CANARY}::test_the_truth_of_held_out_rows_moves_no_bit_of_the_network_that_scores_them"
SHARED_GROUPS = f"{BASE}/runs/test_out_of_fold.py::test_folds_share_no_group_and_validation_rows_come_from_the_folds_own_training_part"  # noqa: E501
DAMAGED = "tests/test_damaged_files.py::test_every_file_is_checked_by_its_bytes_and_not_by_its_time"
RESUMED = f"{BASE}/training/test_member.py::test_an_interrupted_training_equals_an_uninterrupted_one"
DECODING = f"{BASE}/photos/test_decoding.py"
HOSTILE = f"{BASE}/download/test_download.py::test_a_hostile_server"
ADDRESSES = f"{BASE}/download/test_addresses.py"
MANIFEST = f"{BASE}/manifest/test_loading.py"

OUT_OF_FOLD = (
    Mutant(
        "a fold's network trains on the held-out fold too",
        "base_models/runs/out_of_fold.py",
        "(data.fold != fold) & ~data.validation[:, fold]",
        "~data.validation[:, fold]",
        (BY_HEART,),
    ),
    Mutant(
        "a fold's network trains on the held-out fold and nothing else",
        "base_models/runs/out_of_fold.py",
        "(data.fold != fold) & ~data.validation[:, fold]",
        "(data.fold == fold)",
        (BY_HEART,),
    ),
    Mutant(
        "early stop and best epoch on the held-out rows",
        "base_models/runs/out_of_fold.py",
        "np.flatnonzero(data.validation[:, fold]),\n",
        "np.flatnonzero(data.fold == fold),\n",
        (NO_BIT,),
    ),
    Mutant(
        "validation rows cut from all folds",
        "base_models/runs/splits.py",
        'np.flatnonzero((split == "train") & (fold != k))',
        'np.flatnonzero(split == "train")',
        (SHARED_GROUPS,),
    ),
    Mutant(
        "photos of one group in several folds of a run",
        "base_models/runs/splits.py",
        "stratified_group_folds(y_true[train], folds.n_folds, groups=inside,",
        "stratified_group_folds(y_true[train], folds.n_folds, groups=None,",
        (f"{CANARY}::test_near_copies_of_one_group_betray_nothing",),
    ),
    Mutant(
        "photos of one group in the holdout and out of it",
        "base_models/runs/splits.py",
        "folds.holdout_fraction, groups=inside,",
        "folds.holdout_fraction, groups=None,",
        (f"{BASE}/runs/test_holdout_scheme.py::test_the_store_holds_the_holdout_only_and_no_network_saw_it",),
    ),
    Mutant(
        "a chunk with the scores of the rows that were learned",
        "base_models/runs/fold_chunks.py",
        "np.flatnonzero(data.fold == task.fold)",
        "np.flatnonzero((data.fold >= 0) & (data.fold != task.fold))",
        (BY_HEART,),
    ),
    Mutant(
        "labels of a specialist in another order than its columns",
        "base_models/runs/out_of_fold.py",
        "np.ascontiguousarray(data.y_true[:, columns])",
        "np.ascontiguousarray(data.y_true[:, columns[::-1]])",
        (f"{CANARY}::test_the_same_networks_know_their_own_rows_by_heart",),
    ),
)

FILES = (
    Mutant(
        "the marker of a checkpoint is not the last word",
        "base_models/training/checkpoints.py",
        "    atomic_write_json(folder / MARKER, marker)\n    _write_history(folder, checkpoint.history)\n",
        "    _sweep(folder, set(names.values()))\n    atomic_write_json(folder / MARKER, marker)\n"
        "    _write_history(folder, checkpoint.history)\n",
        (f"{BASE}/training/test_checkpoints.py::test_a_death_at_any_write_leaves_the_previous_checkpoint",),
    ),
    Mutant(
        "a checkpoint's hash is not checked",
        "base_models/training/checkpoints.py",
        "not path.is_file() or sha256_file(path) != digest:",
        "not path.is_file():",
        (DAMAGED,),
    ),
    Mutant(
        "a fold's hash is not checked",
        "base_models/runs/fold_record.py",
        "if Path(name).name != name or not (place / name).is_file() or sha256_file(place / name) != digest:",
        "if Path(name).name != name or not (place / name).is_file():",
        (DAMAGED,),
    ),
    Mutant(
        "weights may hold code",
        "base_models/networks/weights.py",
        "weights_only=True)\n",
        "weights_only=False)\n",
        (f"{BASE}/networks/test_weights.py::test_code_in_a_file_is_not_run",),
    ),
)

TRAINING = (
    Mutant(
        "random state not restored on resume",
        "base_models/training/member.py",
        "            torch.manual_seed(task.seed + 1 + epoch)\n",
        "",
        (RESUMED,),
    ),
    Mutant(
        "optimizer state not restored on resume",
        "base_models/training/member.py",
        "    learner.optimizer.load_state_dict(saved.optimizer)\n",
        "",
        (RESUMED,),
    ),
    Mutant(
        "averaged weights not restored on resume",
        "base_models/training/member.py",
        "        learner.average.module.load_state_dict(saved.averaged)\n",
        "        pass\n",
        (RESUMED,),
    ),
    Mutant(
        "what is not annotated teaches",
        "base_models/training/epoch.py",
        "if task.y_known is None else task.y_known[rows].astype(np.float32)",
        "if True else task.y_known[rows].astype(np.float32)",
        (f"{BASE}/training/test_member.py::test_what_is_not_annotated_counts_neither_way",),
    ),
)

PHOTOS = (
    Mutant(
        "the limit of pixels removed",
        "base_models/photos/decoding.py",
        "if image.width * image.height > MAX_PIXELS:",
        "if False:",
        (f"{DECODING}::test_bombs_are_refused_by_their_header",),
    ),
    Mutant(
        "a JPEG may have any number of scans",
        "base_models/photos/decoding.py",
        "    if n_scans > most:\n",
        "    if False:\n",
        (f"{DECODING}::test_a_progressive_photo_of_many_scans_is_refused_before_it_is_decoded",),
    ),
    Mutant(
        "the limit of bytes removed",
        "base_models/photos/decoding.py",
        "if len(data) > MAX_BYTES:",
        "if False:",
        (f"{DECODING}::test_large_files_are_refused_unread",),
    ),
    Mutant(
        "another library lets cut photos pass",
        "base_models/photos/decoding.py",
        "    if ImageFile.LOAD_TRUNCATED_IMAGES:\n",
        "    if False:\n",
        (f"{DECODING}::test_another_librarys_truncation_flag_is_found",),
    ),
    Mutant(
        "EXIF ignored",
        "base_models/photos/decoding.py",
        "return ImageOps.exif_transpose(image)",
        "return image",
        (f"{DECODING}::test_exif_orientation_turns_the_picture",),
    ),
    Mutant(
        "16 bits clipped",
        "base_models/photos/decoding.py",
        "(values + 128) // 257",
        "values",
        (f"{DECODING}::test_sixteen_bits_are_scaled_and_not_clipped",),
    ),
    Mutant(
        "transparent photos show their hidden colors",
        "base_models/photos/decoding.py",
        "    if image.has_transparency_data:\n",
        "    if False:\n",
        (f"{DECODING}::test_transparency_is_laid_on_white",),
    ),
    Mutant(
        "links lead out of the folder of photos",
        "base_models/manifest/folder.py",
        "entry.is_dir(follow_symlinks=False)",
        "entry.is_dir(follow_symlinks=True)",
        (f"{MANIFEST}::test_symbolic_links_do_not_lead_out_of_the_folder",),
    ),
    Mutant(
        "ids that are paths",
        "base_models/manifest/annotations.py",
        "            check_photo_id(photo_id, self.source, folders=bool(self.paths))\n",
        "",
        (f"{MANIFEST}::test_ids_that_are_no_file_names_are_refused",),
    ),
    Mutant(
        "a key of JSON twice",
        "stacking/files/untrusted.py",
        "object_pairs_hook=_unique, ",
        "",
        (f"{MANIFEST}::test_strange_json_is_refused",),
    ),
)

NETWORK = (
    Mutant(
        "private addresses allowed in urls",
        "base_models/download/addresses.py",
        "        if not is_public(host):\n",
        "        if False:\n",
        (f"{ADDRESSES}::test_urls_that_are_refused",),
    ),
    Mutant(
        "names may lead to private addresses",
        "base_models/download/addresses.py",
        "if private and not self._allow_private:",
        "if False:",
        (f"{ADDRESSES}::test_a_name_that_leads_to_a_private_address_is_refused",),
    ),
    Mutant(
        "private addresses behind NAT64",
        "base_models/download/addresses.py",
        "return is_public(str(ipaddress.IPv4Address(int(value) & 0xFFFFFFFF)))",
        "return True",
        (f"{ADDRESSES}::test_private_addresses_in_every_form",),
    ),
    Mutant(
        "redirects are not checked",
        "base_models/download/fetching.py",
        "url = check_url(str(answer), allow_private=options.allow_private)",
        "url = answer",
        (f"{BASE}/download/test_download.py::test_a_redirect_to_a_private_address_is_refused",),
    ),
    Mutant(
        "the limit of redirects removed",
        "base_models/download/fetching.py",
        "range(MAX_REDIRECTS + 1)",
        "range(100)",
        (HOSTILE,),
    ),
    Mutant(
        "a timeout for each read, not for the photo",
        "base_models/download/fetching.py",
        "aiohttp.ClientTimeout(total=options.timeout)",
        "aiohttp.ClientTimeout(sock_read=options.timeout)",
        (HOSTILE,),
    ),
    Mutant(
        "an endless body is read to its end",
        "base_models/download/fetching.py",
        "        if len(body) > limit:\n",
        "        if False:\n",
        (HOSTILE,),
    ),
    Mutant(
        "compressed bodies are taken",
        "base_models/download/fetching.py",
        '    if encoding != "identity":\n',
        "    if False:\n",
        (HOSTILE,),
    ),
    Mutant(
        "photos that were cut at their source are taken",
        "base_models/download/fetching.py",
        "    if not is_whole_photo(data):\n",
        "    if False:\n",
        (HOSTILE,),
    ),
    Mutant(
        "a proxy of the environment sees the urls",
        "base_models/download/fetching.py",
        "trust_env=False",
        "trust_env=True",
        (f"{BASE}/download/test_download.py::test_a_proxy_of_the_environment_is_not_asked",),
    ),
)

MUTANTS = (
    *OUT_OF_FOLD,
    *FILES,
    *TRAINING,
    *PHOTOS,
    *NETWORK,
)
