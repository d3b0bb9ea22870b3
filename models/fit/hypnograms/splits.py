"""Which subjects a fit sees, and which are held back to measure it against."""

from collections import defaultdict

import numpy as np

SHARE_FITTED = 70 / 92
SPLIT_SEED = 2026


def split_subjects(groups: dict[str, str], seed: int = SPLIT_SEED) -> tuple[frozenset[str], ...]:
    """Split subjects at random, in each group alike: 70 and 22 of 92.

    Args:
        groups: by subject, its lab or dataset.
        seed: of the split.

    Returns:
        The subjects to fit, the subjects left out.
    """
    rng = np.random.default_rng(seed)
    by_group: dict[str, list[str]] = defaultdict(list)
    for subject in rng.permutation(sorted(groups)).tolist():
        by_group[groups[subject]].append(subject)
    # A place in the order of the whole from each subject's place in its group: any first part of
    # that order holds the same share of every group, to within a subject.
    place = {s: (i + 0.5) / len(each) for each in by_group.values() for i, s in enumerate(each)}
    order = sorted(groups, key=lambda subject: (place[subject], subject))
    n_fitted = round(SHARE_FITTED * len(order))
    return frozenset(order[:n_fitted]), frozenset(order[n_fitted:])
