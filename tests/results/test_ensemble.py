import numpy as np

from speaker_count.results import ensemble


def test_probabilities_of_sexes_are_averaged_where_all_runs_have_them():
    def predictions(first, **more):
        index = np.arange(2)
        return {"index": index, "count": np.array([1, 2]), "p_1": first, "p_2": 1 - first, **more}

    one = predictions(np.array([0.9, 0.2]), c_M=np.array([0.5, 0.1]))
    other = predictions(np.array([0.3, 0.4]), c_M=np.array([0.1, 0.3]))
    metrics, both = ensemble.mean([one, other], [1, 2])
    np.testing.assert_allclose(both["c_M"], [0.3, 0.2])
    np.testing.assert_allclose(both["p_1"], [0.6, 0.3])
    assert metrics["accuracy"] == 1
    _, without = ensemble.mean([one, predictions(np.array([0.3, 0.4]))], [1, 2])
    assert "c_M" not in without
