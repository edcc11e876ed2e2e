from __future__ import annotations

import pytest

from selena.errors import (
    AccessError,
    ClusterError,
    ConfigError,
    DataError,
    SelenaError,
    StoreError,
    TrainingError,
    unknown_name,
)

KINDS = (AccessError, ClusterError, ConfigError, DataError, StoreError, TrainingError)


@pytest.mark.parametrize("kind", KINDS)
def test_one_level_of_errors(kind: type[SelenaError]) -> None:
    assert kind.__bases__[0] is SelenaError
    assert issubclass(kind, ValueError) == (kind in (ConfigError, DataError))
    assert kind.exit_code == (1 if kind in (ClusterError, TrainingError) else 2)


def test_unknown_name_points_to_the_nearest() -> None:
    error = unknown_name("defense", "slena", ["undefended", "selena", "memguard"])
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "Unknown defense 'slena'. Did you mean 'selena'? Known: memguard, selena, undefended."
    )


def test_unknown_name_far_from_all_gets_no_hint() -> None:
    assert str(unknown_name("key", "zzz", iter(["b", "a"]))) == "Unknown key 'zzz'. Known: a, b."
