"""Writes small.json: invented predictions, with ties and with certainties, to test against.

    python tests/golden/make_small.py

Logits are rounded to halves, so that scores tie; every 20th is made extreme, so that
probabilities round to 0 and 1. Members are predicted somewhat better than non-members.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

ROWS, CLASSES = 320, 4


def main() -> None:
    draw = np.random.default_rng(20220810)
    labels = draw.integers(0, CLASSES, ROWS)
    member = np.arange(ROWS) % 2 == 0
    known = draw.random(ROWS) < 0.5
    logits = draw.normal(0, 1.5, (ROWS, CLASSES))
    logits[np.arange(ROWS), labels] += np.where(member, 3.0, 1.5)
    logits[::20] *= 15
    rows = {
        "logits": (np.round(logits * 2) / 2).tolist(),
        "labels": labels.tolist(),
        "member": member.astype(int).tolist(),
        "known": known.astype(int).tolist(),
    }
    text = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in rows.items())
    Path(__file__).with_name("small.json").write_text("{\n" + text + "\n}\n")


if __name__ == "__main__":
    main()
