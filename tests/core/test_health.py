"""Alive and ready are two questions."""

from reactor.core.health import LONGEST_CYCLE, HealthFacts, liveness, readiness, startup


def test_loops_that_go_round_are_alive() -> None:
    beats = {"claims": 100.0, "housekeeping": 100.0 - LONGEST_CYCLE}
    assert liveness(beats, now=100.0).well
    assert not liveness(beats, now=101.0).well
    assert liveness(beats, now=101.0, rest=5.0).well


def test_a_loop_that_stands_still_is_named() -> None:
    verdict = liveness({"claims": 10.0, "other": 100.0}, now=100.0)
    assert not verdict.well
    assert verdict.problems == ("The claims loop has not completed a cycle for 90 s.",)


def test_ready_takes_everything() -> None:
    facts = HealthFacts({}, schema_current=True, claiming=True, listening=True)
    assert readiness(facts).well
    facts.draining = True
    assert readiness(facts).problems == ("It is stopping.",)
    facts.draining, facts.crashing = False, True
    assert readiness(facts).problems == (
        "An unexpected error has ended the work within the last minute; it was begun anew: see the log.",
    )


def test_what_is_not_ready_is_said() -> None:
    assert len(readiness(HealthFacts({})).problems) == 3


def test_it_has_started_once_it_was_ready_whatever_comes_later() -> None:
    facts = HealthFacts({})
    assert startup(facts).problems == ("It has not been ready yet.", *readiness(facts).problems)
    facts.has_been_ready = True
    assert startup(facts).well
