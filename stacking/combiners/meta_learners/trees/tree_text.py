"""LightGBM's text of boosted trees, proven to be sound and written anew before LightGBM reads it.

LightGBM trusts its text: a child or a feature out of range, a circle of nodes or a wrong size ends in a crash of the
process, or in none at all, and a hash protects only from accidents, since whoever changes an ensemble can hash it
again. So the text of a stranger never reaches LightGBM. Here it is taken apart, every number that prediction reads is
checked, and LightGBM is given a text composed of nothing but these numbers. What our learners never grow is refused:
categorical splits, linear leaves, several classes, averaged forests.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, IntArray

Tree = dict[str, str]

LARGEST = 1e100
"""No leaf is larger: sums of any number of leaves stay finite. Corrections of log odds are below 100."""

HEADER = {"num_class": "1", "num_tree_per_iteration": "1", "label_index": "0", "objective": "binary sigmoid:1"}

_ENTRY = re.compile(r"^([a-z_]+)=(.*)$", re.MULTILINE)
_COUNT = re.compile(r"[0-9]{1,9}")
_WHOLE = re.compile(r"(?:-?[0-9]{1,9})(?: -?[0-9]{1,9})*+")
_DECISIONS = re.compile(r"(?:[02468]|10)(?: (?:[02468]|10))*+")
"""Numeric splits: bit 0 would be a categorical one, bit 1 sends gaps left, bits 2 and 3 say what a gap is (0, 1, 2)."""
_FRACTION = r"-?[0-9]{1,20}(?:\.[0-9]{1,25})?(?:e[-+][0-9]{1,3})?"
_REAL = re.compile(rf"{_FRACTION}(?: {_FRACTION})*+")
_BOUND = re.compile(rf"(?:{_FRACTION}|inf)(?: (?:{_FRACTION}|inf))*+")
"""A threshold may be infinite: such a node parts gaps from all numbers."""


@dataclass(frozen=True)
class TreeNodes:
    """The nodes of several trees in one row, each tree's leaves after its inner nodes.

    Attributes
    ----------
    feature : ndarray of int64, shape (n_nodes,)
        What a node looks at.
    threshold : ndarray of float64, shape (n_nodes,)
        A value up to this goes left.
    gap_left : ndarray of bool, shape (n_nodes,)
        Whether NaN goes left.
    left, right : ndarray of int64, shape (n_nodes,)
        Where it goes on; a leaf is its own child.
    value : ndarray of float64, shape (n_nodes,)
        What a leaf adds.
    roots : ndarray of int64, shape (n_trees,)
        The first node of each tree.
    """

    feature: IntArray
    threshold: DoubleArray
    gap_left: BoolArray
    left: IntArray
    right: IntArray
    value: DoubleArray
    roots: IntArray


def load_booster(text: str, *, n_features: int, who: str) -> Any:
    """Check a model's text and let LightGBM read what was checked.

    Parameters
    ----------
    text : str
        As ``Booster.model_to_string`` gave it, or a stranger's.
    n_features : int
        How many features will be given to it.
    who : str
        Whose trees they are, for the error: ``"label 'dress'"``.

    Returns
    -------
    lightgbm.Booster
        Ready to predict.

    Raises
    ------
    ValueError
        If the text is no sound model of trees on so many features.
    """
    import lightgbm

    try:
        sound = compose_trees(text, n_features)
    except ValueError as error:
        raise ValueError(
            f"the trees of {who} must be a sound LightGBM text: {error}; fit the ensemble again."
        ) from error
    return lightgbm.Booster(model_str=sound)


def compose_trees(text: str, n_features: int) -> str:
    """Take a model's text apart, check all that prediction reads, and write it anew.

    Parameters
    ----------
    text : str
        Of a boosted model for one binary label.
    n_features : int
        The number of features it must read.

    Returns
    -------
    str
        A text that LightGBM reads into a model with the same predictions.

    Raises
    ------
    ValueError
        If it is no such text; a part of a sentence says why.

    Notes
    -----
    O(length); a node's children come after it, as LightGBM numbers them, so that no path can turn back.
    """
    return _compose(_read_trees(text, n_features), n_features)


def read_tree_nodes(text: str, n_features: int) -> TreeNodes:
    """Take a model's text apart into arrays, after the checks of `compose_trees`.

    Parameters
    ----------
    text : str
        Of a boosted model for one binary label.
    n_features : int
        The number of features it must read.

    Returns
    -------
    TreeNodes
        All nodes and leaves of all trees.

    Raises
    ------
    ValueError
        If it is no such text, or takes zeros for gaps, which our learners never do.
    """
    trees = _read_trees(text, n_features)
    parts = [_list_nodes(tree) for tree in trees]
    sizes = np.array([len(part.value) for part in parts])
    first = np.cumsum(sizes) - sizes
    shifted = [
        dataclasses.replace(part, left=part.left + start, right=part.right + start, roots=part.roots + start)
        for part, start in zip(parts, first.tolist(), strict=True)
    ]
    names = [one.name for one in dataclasses.fields(TreeNodes)]
    return TreeNodes(**{name: np.concatenate([getattr(part, name) for part in shifted]) for name in names})


def _list_nodes(tree: Tree) -> TreeNodes:
    """List the nodes of a checked tree, its leaves last: each of them its own child."""
    leaf_values = np.array(tree["leaf_value"].split(), np.float64)
    n_inner = len(leaf_values) - 1
    leaves = np.arange(n_inner, n_inner + len(leaf_values))
    thresholds = np.array(tree["threshold"].split() if n_inner else [], np.float64)
    whole = ("split_feature", "decision_type", "left_child", "right_child")
    features, decisions, *sides = (np.array(tree[key].split() if n_inner else [], np.int64) for key in whole)
    if (decisions >> 2 == 1).any():
        raise ValueError("its trees must not take zeros for gaps")
    # A node that knows no gaps takes one for a zero.
    gap_left = np.where(decisions >> 2 == 2, decisions & 2 > 0, thresholds >= 0.0)
    left, right = (np.concatenate([np.where(child < 0, n_inner + ~child, child), leaves]) for child in sides)
    return TreeNodes(
        feature=np.concatenate([features, np.zeros(len(leaves), np.int64)]),
        threshold=np.concatenate([thresholds, np.zeros(len(leaves))]),
        gap_left=np.concatenate([gap_left, np.zeros(len(leaves), bool)]),
        left=left,
        right=right,
        value=np.concatenate([np.zeros(n_inner), leaf_values]),
        roots=np.zeros(1, np.int64),
    )


def _read_trees(text: str, n_features: int) -> list[Tree]:
    """Take a text apart and check all that prediction reads."""
    part, end, _ = text.partition("\nend of trees\n")
    head, *blocks = part.split("\nTree=")
    if not blocks or not end:
        raise ValueError("it holds no whole trees")
    blocks = [f"Tree={block}\n" for block in blocks]
    _check_head(head, n_features)
    _check_sizes(head, blocks)
    trees = [_take_apart(block, number) for number, block in enumerate(blocks)]
    _check_trees(trees, n_features)
    return trees


def _check_head(head: str, n_features: int) -> None:
    """Check what stands before the trees."""
    lines = head.strip("\n").split("\n")
    strange = next((line for line in lines[1:] if "=" not in line), None)
    if lines[0] != "tree" or strange is not None:
        raise ValueError(f"it must begin with 'tree' and name=value lines: got {(strange or lines[0])[:40]!r}")
    found = dict(_ENTRY.findall(head))
    for key, wanted in {**HEADER, "max_feature_idx": str(n_features - 1)}.items():
        if found.get(key) != wanted:
            raise ValueError(f"{key} must be {wanted}: got {found.get(key, 'none')[:40]!r}")
    if found.get("version") not in ("v3", "v4"):
        raise ValueError(f"version must be v3 or v4: got {found.get('version', 'none')[:40]!r}")


def _check_sizes(head: str, blocks: list[str]) -> None:
    """Compare the announced length of every tree with its own: so a text that was cut is found."""
    sizes = dict(_ENTRY.findall(head)).get("tree_sizes", "")
    found = [len(block) for block in blocks]
    if sizes != " ".join(map(str, found)):
        raise ValueError(
            f"tree_sizes must be the lengths of its {len(found)} trees, {found[0]} first: got {sizes[:40]!r}"
        )


def _take_apart(block: str, number: int) -> Tree:
    """Split one tree into its entries."""
    first, _, rest = block.partition("\n")
    entries = _ENTRY.findall(rest)
    tree = dict(entries)
    if first != f"Tree={number}" or len(tree) != len(entries) or "\r" in block:
        raise ValueError(f"tree {number} must begin with its number and hold every entry once: got {first[:40]!r}")
    if tree.get("num_cat") != "0" or tree.get("is_linear", "0") != "0":
        raise ValueError(f"tree {number} must hold numeric splits and constant leaves only")
    if not _COUNT.fullmatch(tree.get("num_leaves", "")) or int(tree["num_leaves"]) < 1:
        raise ValueError(
            f"tree {number} must have at least one leaf: got num_leaves {tree.get('num_leaves', '')[:40]!r}"
        )
    return tree


def _check_trees(trees: list[Tree], n_features: int) -> None:
    """Check the numbers of all trees at once."""
    leaves = np.array([int(tree["num_leaves"]) for tree in trees], np.int64)
    inner = leaves - 1
    values = _read(trees, "leaf_value", leaves, _REAL, np.float64)
    features = _read(trees, "split_feature", inner, _WHOLE, np.int64)
    _read(trees, "threshold", inner, _BOUND, np.float64)
    if not np.abs(values).max() <= LARGEST:
        raise ValueError(f"leaf values must be within ±{LARGEST:g}: got {values[np.abs(values).argmax()]}")
    if len(features) and not (features.min() >= 0 and features.max() < n_features):
        raise ValueError(f"split_feature must be from 0 to {n_features - 1}: got {features.min()} to {features.max()}")
    _read(trees, "decision_type", inner, _DECISIONS, np.int64)
    left, right = (_read(trees, key, inner, _WHOLE, np.int64) for key in ("left_child", "right_child"))
    _check_children(left, right, leaves)
    for key, counts in (("leaf_count", leaves), ("internal_count", inner)):
        if all(key in tree for tree in trees):
            _check_lengths([tree[key] for tree in trees], key, counts)


def _check_children(left: IntArray, right: IntArray, leaves: IntArray) -> None:
    """Check that every tree is one: each node but its root and each leaf is the child of one earlier node."""
    inner = leaves - 1
    n_inner, tree_of = int(inner.sum()), np.repeat(np.arange(len(leaves)), inner)
    first_node, first_leaf = np.cumsum(inner) - inner, np.cumsum(leaves) - leaves
    own = np.arange(n_inner) - first_node[tree_of]
    places = []
    for child in (left, right):
        is_leaf = child < 0
        fine = np.where(is_leaf, ~child < leaves[tree_of], (child > own) & (child < inner[tree_of]))
        if not fine.all():
            wrong = int((~fine).argmax())
            raise ValueError(f"tree {tree_of[wrong]}, node {own[wrong]}: its child {child[wrong]} must be a later one")
        places.append(np.where(is_leaf, n_inner + first_leaf[tree_of] + ~child, first_node[tree_of] + child))
    parents = np.bincount(np.concatenate(places), minlength=n_inner + int(leaves.sum()))
    expected = np.ones(len(parents), np.int64)
    expected[first_node[inner > 0]] = 0
    expected[n_inner + first_leaf[inner == 0]] = 0  # a tree of one leaf has no node
    if not np.array_equal(parents, expected):
        raise ValueError("every node and leaf must be the child of one node")


def _read(trees: list[Tree], key: str, counts: IntArray, form: re.Pattern[str], kind: Any) -> npt.NDArray[Any]:
    """Read one entry of all trees as numbers, as many a tree as there must be."""
    texts = [tree.get(key, "") for tree in trees]
    _check_lengths(texts, key, counts)
    joined = " ".join(text for text in texts if text)
    if joined and not form.fullmatch(joined):
        raise ValueError(f"{key} must hold numbers as LightGBM writes them, separated by blanks")
    values = np.fromiter(map(float if kind is np.float64 else int, joined.split()), kind, count=int(counts.sum()))
    if kind is np.float64 and np.isinf(values).sum() != joined.count("inf"):
        raise ValueError(f"{key} must hold numbers of double precision: got one beyond 1e308")
    return values


def _check_lengths(texts: list[str], key: str, counts: IntArray) -> None:
    """Check that every tree has as many values as nodes or leaves."""
    for number, (text, count) in enumerate(zip(texts, counts.tolist(), strict=True)):
        if (text.count(" ") + 1 if text else 0) != count:
            raise ValueError(f"tree {number} must have {count} values of {key}: got {len(text.split())}")


def _compose(trees: list[Tree], n_features: int) -> str:
    """Write what prediction reads, and nothing else."""
    blocks = [_compose_tree(number, tree) for number, tree in enumerate(trees)]
    head = {
        "version": "v4",
        **HEADER,
        "max_feature_idx": str(n_features - 1),
        "feature_names": " ".join(f"Column_{number}" for number in range(n_features)),
        "feature_infos": " ".join(["none"] * n_features),
        "tree_sizes": " ".join(str(len(block)) for block in blocks),
    }
    lines = "\n".join(f"{key}={value}" for key, value in head.items())
    return (
        f"tree\n{lines}\n\n{''.join(blocks)}end of trees\n\nfeature_importances:\n\nparameters:\n\nend of parameters\n"
    )


def _compose_tree(number: int, tree: Tree) -> str:
    """Write one tree; one of a single leaf has no splits to write."""
    split = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
    keys = ("num_leaves", "num_cat", *(split if tree["num_leaves"] != "1" else ()), "leaf_value")
    lines = "\n".join(f"{key}={tree[key]}" for key in keys)
    return f"Tree={number}\n{lines}\nis_linear=0\nshrinkage=1\n\n\n"
