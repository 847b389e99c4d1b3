"""The size of the HTML report, which a browser has to open at once."""

from dataclasses import replace
from pathlib import Path

import pytest

from isosmoke.reports import html
from isosmoke.reports.html.supplement import Supplement
from isosmoke.results.outcome import Exited, Outcome
from isosmoke.results.run_record import RunRecord
from isosmoke.results.run_results import Attempt
from support import records, result_factories
from support.html_pages import Earlier

MEGABYTE = 1_000_000
OUTPUT = "==> a line of output as a scenario prints it, such as the answer of the service\n" * 12


def make_large(number: int, code: int = 0) -> RunRecord:
    """Return a run of scenarios with usual lengths of names, output and phases."""
    output = records.make_output(OUTPUT)
    attempt = Attempt(
        ending=Exited(code),
        phases={"create": 0.01, "start": 0.01, "run": 0.2, "destroy": 0.01},
        output=output,
        stderr=output,
        log=Path("/p/.isosmoke/runs/1/1234/output-1.log"),
    )
    assertion = "After a restart of the service the graph has all of its tasks."
    result = result_factories.make_result(attempt, assertion=assertion)
    run = records.make_record(result, seconds=0.25 * number / 8)
    (scenario,), (tried,) = run.scenarios, run.scenarios[0].attempts
    return replace(
        run,
        counts={outcome: count * number for outcome, count in run.counts.items()},
        scenarios=tuple(
            replace(
                scenario,
                name=f"service_restart_keeps_the_graph_{at}",
                attempts=(replace(tried, begun=0.25 * (at // 8)),),
            )
            for at in range(number)
        ),
    )


@pytest.mark.parametrize(("number", "limit"), [(324, MEGABYTE), (10_000, 10 * MEGABYTE)])
def test_green_page_is_small(number: int, limit: int) -> None:
    """It can be mailed and opened, and still has the output of a few hundred scenarios."""
    run = make_large(number)
    outcomes = [Earlier(Outcome.FAIL), *[Earlier(Outcome.PASS)] * 18]
    past = {scenario.name: outcomes for scenario in run.scenarios}
    text = html.render(run, Supplement(past=past))

    assert limit / 4 < len(text.encode()) < limit
    assert text.count("last 20 outcomes: 19 PASS, 1 FAIL") == number
    assert ("==&gt; a line of output" in text) == (number < 1000)


def test_red_page_is_limited() -> None:
    """Of very many failures, some have everything; the page says how to see the others."""
    text = html.render(make_large(10_000, code=1))

    assert len(text.encode()) < 10 * MEGABYTE
    assert text.count('<details class="row FAIL blocks"') == 10_000
    assert "The first 200 have all details here" in text
    assert "isosmoke show 1/NAME" in text
