"""`python -m speaker_count VERB`, the same as `speaker-count VERB`."""

from speaker_count.cli import main

if __name__ == "__main__":
    main()
