"""Change LightGBM texts at random and hand them to our reader; run in a child process, which a crash would end.

``python tree_mutations.py MODEL_FILE N_FEATURES N_MUTATIONS SEED`` prints how many were refused and how many answered.
"""

import random
import re
import sys
from pathlib import Path

import numpy as np

from stacking.combiners.meta_learners.trees.tree_text import load_booster

NUMBERS = (
    "-1",
    "0",
    "1",
    "2",
    "7",
    "-7",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967296",
    "1e+308",
    "1e+999",
    "nan",
)
NUMBERS += ("inf", "-inf", "", " ", "x", "0x10", "1_0", "٣", "9" * 400, "-", "1e-999", ".5", "5.", "+1")


def announce_sizes(text):
    """Do what an attacker would: make the sizes agree with the changed trees."""
    head, *blocks = text.partition("\nend of trees\n")[0].split("\nTree=")
    sizes = " ".join(str(len(f"Tree={block}\n".encode())) for block in blocks)
    changed = re.sub(r"tree_sizes=[^\n]*", f"tree_sizes={sizes}", head)
    return "\nTree=".join([changed, *blocks]) + "\nend of trees\n" + text.partition("\nend of trees\n")[2]


def change_number(text, rng):
    """Put something else in the place of one number."""
    places = [match.span() for match in re.finditer(r"(?<=[= ])-?[0-9][-+.e0-9]*", text)]
    if not places:
        return text
    start, stop = rng.choice(places)
    return text[:start] + rng.choice(NUMBERS) + text[stop:]


def change_character(text, rng):
    """Put another character in the place of one."""
    place = rng.randrange(len(text) + 1)
    return text[:place] + chr(rng.choice([*range(32, 127), 0, 9, 10, 13, 255])) + text[place + 1 :]


def change_lines(text, rng):
    """Drop, repeat, or exchange lines."""
    lines = text.split("\n")
    place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(4)
    if how == 0:
        del lines[place]
    elif how == 1:
        lines.insert(place, lines[other])
    elif how == 2:
        lines[place], lines[other] = lines[other], lines[place]
    else:
        lines[place] = lines[place].partition("=")[0] + "=" + lines[other].partition("=")[2]
    return "\n".join(lines)


def cut(text, rng):
    """End early."""
    return text[: rng.randrange(len(text) + 1)]


def shuffle_children(text, rng):
    """Exchange the values of one row, which may close a circle."""
    rows = list(re.finditer(r"(left_child|right_child|split_feature|decision_type)=([^\n]+)", text))
    if not rows:
        return text
    row = rng.choice(rows)
    values = row.group(2).split(" ")
    values[rng.randrange(len(values))] = rng.choice([*values, str(rng.randrange(-9, 9))])
    return text[: row.start(2)] + " ".join(values) + text[row.end(2) :]


def main():
    path, n_features, n_mutations, seed = sys.argv[1], *map(int, sys.argv[2:])
    sound = Path(path).read_text(encoding="utf-8")
    rng = random.Random(seed)
    rows = np.array([[0.0] * n_features, [np.nan] * n_features, [1e300] * n_features, [-5.0] * n_features])
    counts = {"refused": 0, "answered": 0}
    for _ in range(n_mutations):
        text = sound
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            text = rng.choice([change_number, change_character, change_lines, cut, shuffle_children])(text, rng)
        if rng.random() < 0.8:
            text = announce_sizes(text)
        try:
            booster = load_booster(text, n_features=n_features, who="a stranger")
        except ValueError:
            counts["refused"] += 1
            continue
        assert np.isfinite(booster.predict(rows, raw_score=True, num_threads=1)).all()
        counts["answered"] += 1
    print(counts["refused"], counts["answered"])


if __name__ == "__main__":
    main()
