"""What processes that compute runs need; their server imports it before it forks them."""

from speaker_count.training.importing import importing

with importing():
    import pandas  # noqa: F401  (pyarrow would import it in each job)

    from speaker_count.commands import train  # noqa: F401
    from speaker_count.sweeping import local  # noqa: F401
    from speaker_count.training import fit  # noqa: F401
