"""What is compared, by the sexes of a clip's speakers."""

import pytest

from speaker_count.results.comparison import in_paper_order


@pytest.mark.parametrize(
    ("sexes", "shown"), [("F", "F"), ("FM", "MF"), ("FMM", "MMF"), ("U", "sexes unknown"), ("FUM", "sexes unknown")]
)
def test_a_clip_is_named_by_its_sexes_where_all_are_known(sexes, shown):
    assert in_paper_order(sexes) == shown
