"""comflp.search.baselines.fixed: proposals of the right size, by their own rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflp.errors import ComflpError
from comflp.search import baselines

sizes = st.integers(2, 60).flatmap(lambda layers: st.tuples(st.just(layers), st.integers(1, layers - 1)))


@pytest.mark.parametrize("name", baselines.FIXED)
@given(size=sizes)
def test_every_fixed_baseline_removes_n_layers(name, size):
    num_layers, num_prune = size
    for proposal in baselines.FIXED[name](num_layers, num_prune):
        assert (proposal.num_layers, proposal.num_removed) == size


@given(sizes)
def test_uniform_gaps_differ_by_at_most_one(size):
    for proposal in baselines.uniform(*size):
        gaps = {b - a for a, b in zip(proposal.removed, proposal.removed[1:])}
        assert len(gaps) <= 2 and max(gaps, default=0) - min(gaps, default=0) <= 1


@given(sizes, st.integers(0, 5))
def test_random_draws_are_different_and_of_the_right_size(size, seed):
    drawn = baselines.random(*size, seed=seed)
    assert len(drawn) == len(set(drawn)) <= baselines.NUM_RANDOM
    assert {(proposal.num_layers, proposal.num_removed) for proposal in drawn} == {size}


def test_random_reaches_every_proposal():
    assert len({p for seed in range(40) for p in baselines.random(5, 2, seed=seed, count=2)}) == 10


@pytest.mark.parametrize("num_prune", [0, 12])
def test_n_out_of_range_is_an_error(num_prune):
    for make in baselines.FIXED.values():
        with pytest.raises(ComflpError, match="N is from 1 to 11"):
            make(12, num_prune)


@pytest.mark.parametrize("name", [*baselines.FIXED, "random"])
@given(size=sizes, data=st.data())
def test_layers_that_must_stay_do_and_the_rule_is_of_the_others(name, size, data):
    num_layers, num_prune = size
    must_stay = data.draw(st.sets(st.integers(1, num_layers), max_size=3))
    others = [layer for layer in range(1, num_layers + 1) if layer not in must_stay]
    make = (lambda *a, **k: baselines.random(*a, seed=3, **k)) if name == "random" else baselines.FIXED[name]
    if num_prune > min(len(others), num_layers - 1):
        with pytest.raises(ComflpError, match="must stay"):
            make(num_layers, num_prune, must_stay=must_stay)
        return
    found = make(num_layers, num_prune, must_stay=must_stay)
    assert all(proposal.num_removed == num_prune and not must_stay & set(proposal.removed) for proposal in found)
    if len(others) > num_prune:
        alone = make(len(others), num_prune)
        assert [[others[layer - 1] for layer in p.removed] for p in alone] == [list(p.removed) for p in found]
