from __future__ import annotations

import ftx


def test_everything_that_is_promised_is_there():
    for name in ftx.__all__:
        assert getattr(ftx, name) is not None, name


def test_nothing_else_is_offered():
    import pytest

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ftx.nonsense
