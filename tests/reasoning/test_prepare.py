"""Machine code: all of it is made beforehand, and a machine that keeps none still works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNT = """
import sys
from numba.core.registry import CPUDispatcher
def compiled():
    return {value.py_func.__qualname__: len(value.signatures) for name, module in list(sys.modules.items()) if name.startswith("reasoning")
            for value in vars(module).values() if isinstance(value, CPUDispatcher)}
"""
USE = """
from tests.reasoning import test_bad_input, test_belief, test_inference, test_intervention, test_constraints, test_compile, test_monte_carlo, test_ordinal_posteriors, test_sharding
test_inference.test_a_dense_cluster_no_table_can_hold_still_gets_an_answer_that_owns_up(1.0)
test_intervention.test_to_mend_the_true_cause_ends_the_symptoms_it_explains_and_nothing_else()
test_intervention.test_impact_is_what_a_cause_takes_down_whatever_is_seen_now()
test_bad_input.test_findings_that_say_nothing_possible_keep_the_last_diagnosis(test_bad_input.IMPOSSIBLE, ())
test_intervention.test_forces_in_both_directions_are_sampled_and_the_standard_error_covers_the_error(0)
test_monte_carlo.test_both_worlds_are_within_four_standard_errors_of_the_sum_over_all_worlds(0)
test_belief.test_evidence_that_rules_out_every_world_is_told_and_taken_back()
test_belief.test_a_link_that_would_close_a_cycle_is_refused()
test_belief.test_an_entity_too_large_to_enumerate_is_still_solved(0)
test_constraints.test_a_ruled_out_cause_no_longer_explains_the_symptom()
test_compile.test_of_services_that_call_in_a_ring_the_weakest_way_is_feedback()
test_ordinal_posteriors.test_of_two_services_that_slow_each_other_either_explains_both()
test_sharding.test_another_network_is_followed_and_what_stays_keeps_its_shard()
test_sharding.test_shards_cut_a_core_that_is_too_wide_as_one_does()
"""


@pytest.mark.slow
def test_nothing_is_compiled_in_an_incident_that_was_not_prepared() -> None:
    script = f"{COUNT}\nfrom reasoning.prepare import prepare\nprepare(lambda _: None)\nbefore = compiled()\n{USE}\nafter = compiled()\n"
    run = _python(script + "print({name: (count, before.get(name)) for name, count in after.items() if count != before.get(name, 0)})")
    assert run.stdout.strip() == "{}", run.stderr


@pytest.mark.slow
def test_where_no_cache_can_be_written_the_code_is_compiled_for_the_process(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("a file, where a directory would be needed")
    script = "from numba.core.caching import _CacheLocator\n_CacheLocator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError('read-only'))\n"
    run = _python(
        script + "from reasoning.cycles import components\nimport numpy as np\nprint(components(2, np.array([0], np.int32), np.array([1], np.int32)))"
    )
    assert run.stdout.strip() == "[1 0]", run.stderr
    run = _python(script + "import reasoning.native", NUMBA_CACHE_DIR=str(nowhere))
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_prepare_tells_what_it_does() -> None:
    run = subprocess.run([sys.executable, "-m", "reasoning.prepare"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stderr.splitlines() == [
        "Preparing the detectors.",
        "Preparing the causal network.",
        "Preparing belief propagation.",
        "Preparing shards.",
        "Preparing exact elimination.",
        "Preparing feedback.",
        "Preparing sampled worlds.",
    ]


def _python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment})
