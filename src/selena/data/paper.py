"""The sizes of the paper's splits, by data set (Tang et al. 2022, Section 5.1).

The paper has no validation records. Here a tenth of its test records (at most 5,000) are validation
records, so that nothing is selected on scored records.
"""

from __future__ import annotations

from collections.abc import Callable

from selena.data.split import MOST_VALIDATION, Partition
from selena.errors import ConfigError
from selena.types import Dataset

_SIZES: dict[str, Callable[[int], tuple[int, int]]] = {
    "purchase100": lambda n: (n // 10, n * 15 // 100),
    "texas100": lambda n: (10_000, n * 30 // 100),
    # Members are the training images (see `Dataset.member_pool`), the others the test images.
    "cifar100": lambda n: (50_000, (n - 50_000) // 2),
}
_SIZES |= {f"{name}-synthetic": _SIZES[name] for name in ("purchase100", "texas100")}
"""Members and reference non-members by data set and number of records; the rest are for testing."""


def paper_partition(dataset: Dataset) -> Partition:
    """Return the sizes that the paper uses for a data set.

    Raises:
        ConfigError: if the paper does not use the set; the message names the sets that it uses.
        DataError: later, in `audit_split`, if a shortened set has too few records.
    """
    if dataset.name not in _SIZES:
        raise ConfigError(
            f"The paper has no partition of {dataset.name}, only of {', '.join(_SIZES)}. "
            "Leave --partition out."
        )
    n = len(dataset.records)
    members, reference = _SIZES[dataset.name](n)
    validation = max(1, min(MOST_VALIDATION, (n - members - reference) // 10))
    return Partition(members=members, reference=reference, validation=validation)
