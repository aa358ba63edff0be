"""`speaker-count prepare`: what it says before it gets a corpus."""


def test_it_says_what_it_takes_before_it_downloads(verb, tmp_path):
    code, out, err = verb("prepare", f"data.root={tmp_path / 'nothing'}", "data.url=nowhere")
    assert code == 2
    assert "no train-clean-100, dev-clean, test-clean" in out
    assert "disk: 13.5 GB for the speech (7.1 GB once it is unpacked)" in out
    assert "cannot download nowhere/train-clean-100.tar.gz" in err
    assert len(err.strip().splitlines()) == 1


def test_of_a_corpus_that_is_there_it_says_where(verb, tree):
    code, out, err = verb("prepare", "data=folder", f"data.root={tree}")
    assert code == 0, err
    assert out.startswith(f"speech: folder-tree is in {tree}: 48 utterances of 24 speakers\npool: ")
    assert "decoded in" in out
