"""Data sets that come with scikit-learn: real records without a download."""

from __future__ import annotations

import torch

from selena.types import Dataset, Records


def load_digits() -> Dataset:
    """Return the 1,797 handwritten digits (8 x 8 gray levels, 10 classes), scaled to [0, 1].

    Source: UCI "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak 1998), test part.
    """
    from sklearn import datasets

    x, y = datasets.load_digits(return_X_y=True)
    return Dataset(
        name="digits",
        records=Records(
            torch.from_numpy(x).float() / 16, torch.from_numpy(y).long(), torch.arange(len(y))
        ),
        num_classes=10,
        features="continuous",
        recipe="digits",
        n_members=600,
        source="scikit-learn's digits: 1,797 handwritten digits of 8 x 8 pixels (UCI)",
    )
