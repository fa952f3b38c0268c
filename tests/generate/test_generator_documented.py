"""Every option of every stage, and every kind of estimand, has its line in docs/generator.md."""

from pathlib import Path

import pytest

from simtrial.estimands import MEANINGS
from simtrial.generate import steps

TEXT = (Path(__file__).parents[2] / "docs" / "generator.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", steps())
def test_every_option_is_documented(stage: str) -> None:
    absent = [name for name in steps()[stage].model_fields if f"`{name}`" not in TEXT]
    assert not absent
    assert f"[mechanism.{stage}]" in TEXT or stage.startswith("outcomes.")


def test_every_kind_of_estimand_is_documented() -> None:
    assert [kind for kind in MEANINGS if f"`{kind}`" not in TEXT] == []
