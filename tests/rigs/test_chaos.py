"""Which rows `make chaos` runs; the rows themselves take minutes."""

import pytest

from tests.rigs.chaos.run import SCENARIOS, choose


def test_the_scenarios_asked_for_are_chosen_and_no_others() -> None:
    assert choose(["3", "1"]) == [1, 3]
    assert choose([]) == list(range(len(SCENARIOS)))


@pytest.mark.parametrize("number", ["gap", "-1", str(len(SCENARIOS))])
def test_a_scenario_that_is_not_there_ends_the_run(number: str) -> None:
    """It used to run nothing, and to find all as expected."""
    with pytest.raises(SystemExit, match=f"expected numbers of scenarios, .* found '{number}'"):
        choose(["1", number])
