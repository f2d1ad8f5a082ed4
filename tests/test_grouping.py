"""Chapter 2: counting, k-means and soft groups, compared up to a renumbering of the groups."""

from __future__ import annotations

import numpy as np
import pytest

from book.data.toys import crowds, streetlights
from book.grouping import k_means, scale_features, share_of_yes, soft_groups


def as_sets(members) -> set[frozenset[int]]:
    """The groups as sets of rows, whatever their numbers are."""
    return {frozenset(np.flatnonzero(members == group).tolist()) for group in np.unique(members)}


CROWDS = {frozenset({0, 2, 3}), frozenset({1, 4}), frozenset({5, 6})}


class TestCounting:
    def test_the_middle_lamp_tells_when_people_walk(self):
        lamps, walk = streetlights()
        np.testing.assert_allclose(share_of_yes(lamps, walk[:, 0]), [1 / 3, 1, 1 / 2])

    def test_an_input_that_is_never_on_has_no_share(self):
        assert np.isnan(share_of_yes([[1, 0]], [1])[1])

    def test_add_one_smoothing_takes_nothing_for_certain(self):
        lamps, walk = streetlights()  # on 3 times with 1 yes, 3 times with 3, 2 times with 1
        np.testing.assert_allclose(share_of_yes(lamps, walk[:, 0], smoothing=1), [2 / 5, 4 / 5, 2 / 4])
        assert share_of_yes([[1, 0]], [1], smoothing=1).tolist() == [2 / 3, 1 / 2]

    def test_answers_must_be_as_many_as_rows(self):
        with pytest.raises(ValueError, match=r"answers of shape \(2,\) do not fit inputs of shape \(1, 2\)"):
            share_of_yes([[1, 0]], [1, 0])


class TestScaling:
    def test_columns_get_mean_0_and_spread_1(self):
        np.testing.assert_allclose(scale_features([[1, 100], [3, 500]]), [[-1, -1], [1, 1]])

    def test_a_column_of_equal_numbers_becomes_0(self):
        np.testing.assert_array_equal(scale_features([[7.0], [7.0]]), [[0], [0]])


class TestKMeans:
    @pytest.mark.parametrize("seed", range(20))
    def test_finds_the_three_kinds_of_matches_for_every_seed(self, seed):
        found = k_means(scale_features(crowds()), 3, np.random.default_rng(seed))
        assert as_sets(found.members) == CROWDS

    def test_a_centre_is_the_middle_of_its_points(self):
        found = k_means([[0.0, 0], [2, 0], [10, 4], [10, 6]], 2, np.random.default_rng(0))
        assert sorted(found.centres.tolist()) == [[1, 0], [10, 5]]

    def test_as_many_groups_as_points_gives_each_its_own(self):
        assert len(as_sets(k_means([[0.0], [1], [2]], 3, np.random.default_rng(0)).members)) == 3

    def test_a_group_that_lost_its_points_starts_again(self, monkeypatch):
        monkeypatch.setattr("book.grouping._spread_out", lambda points, groups, rng: np.array([[0.0], [99.0]]))
        found = k_means([[0.0], [1.0], [8.0]], 2, np.random.default_rng(0))
        assert as_sets(found.members) == {frozenset({0, 1}), frozenset({2})}

    def test_fewer_distinct_points_than_groups_are_refused(self):
        with pytest.raises(ValueError, match="3 groups cannot be found among 2 distinct points"):
            k_means([[1.0], [1.0], [2.0]], 3, np.random.default_rng(0))

    def test_numbers_that_are_not_finite_are_refused(self):
        with pytest.raises(ValueError, match="finite"):
            k_means([[1.0], [np.nan]], 2, np.random.default_rng(0))


class TestSoftGroups:
    def test_shares_of_a_point_sum_to_1_and_its_own_group_has_most(self):
        found = soft_groups(scale_features(crowds()), 3, np.random.default_rng(0))
        np.testing.assert_allclose(found.shares.sum(axis=1), 1)
        assert as_sets(found.shares.argmax(axis=1)) == CROWDS

    def test_between_two_centres_a_point_leans_to_the_larger_group_as_the_groups_sizes_do(self):
        """Halfway between equally wide groups nearness says nothing; only how many belong to each."""
        points = np.array([[-4.0], [-3], [-3], [-2], [-2], [-1], [3], [4]])
        found = soft_groups(points, 2, np.random.default_rng(0), steps=1000)
        odds = np.log(found.shares[:, 0] / found.shares[:, 1])
        steepness, at_zero = np.polyfit(points[:, 0], odds, 1)  # of one width: the logarithm of the odds is a line
        first, second = found.shares.sum(axis=0)
        assert at_zero + steepness * found.centres.mean() == pytest.approx(np.log(first / second), rel=1e-6)
        assert max(first, second) > 2 * min(first, second)

    def test_groups_of_equal_points_without_any_width_are_distinguished(self):
        found = soft_groups([[0.0], [0], [5], [5]], 2, np.random.default_rng(0))
        assert as_sets(found.shares.argmax(axis=1)) == {frozenset({0, 1}), frozenset({2, 3})}
        assert sorted(found.centres[:, 0].tolist()) == pytest.approx([0, 5], abs=1e-9)

    @pytest.mark.parametrize("seed", range(3))
    def test_a_group_that_fades_away_over_very_many_steps_stays_finite(self, seed):
        """Two far points begin as a group; one wide group comes to explain all, the other's sizes fall towards 0."""
        found = soft_groups([[0, 0], [10, 10]] * 10 + [[0, 500], [200, 0]], 2, np.random.default_rng(seed), steps=6_000)
        assert np.isfinite(found.centres).all()
        assert (found.shares > 0).all()

    def test_a_point_between_two_groups_belongs_to_both_alike(self):
        found = soft_groups([[-6.0], [-5], [-4], [0], [4], [5], [6]], 2, np.random.default_rng(0))
        np.testing.assert_allclose(found.shares[3], [0.5, 0.5], atol=0.02)
        assert found.shares[[0, 6]].max(axis=1).min() > 0.9
