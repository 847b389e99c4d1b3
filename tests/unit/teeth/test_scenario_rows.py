"""The stored row of a scenario, and the inputs that it depends on."""

from isosmoke.gate import in_toto
from isosmoke.teeth import scenario_rows

SCRIPT = in_toto.create_hashed_resource("script", "a.sh", "1" * 64)
POLICY = in_toto.create_hashed_resource("policy", "[gate]", "2" * 64)


def test_key_depends_on_the_inputs_and_not_on_the_policy() -> None:
    """A changed script, binary or pattern has another row; a changed `[gate]` has the same one."""
    key = scenario_rows.compute_key([SCRIPT, POLICY], ["binary"])
    changed = in_toto.create_hashed_resource("script", "a.sh", "3" * 64)
    policy = in_toto.create_hashed_resource("policy", "[gate]", "4" * 64)

    assert scenario_rows.compute_key([SCRIPT, policy], ["binary"]) == key
    assert scenario_rows.compute_key([changed, POLICY], ["binary"]) != key
    assert scenario_rows.compute_key([SCRIPT, POLICY], ["binary", "at _ *"]) != key
