"""The service sides as Compose starts it, over stores that lack or hold what it is to serve; nothing is started here."""

import shutil

from small_run import Caisson, SmallRun


def test_without_an_export_it_says_what_has_to_run_before(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    code, _, err = caisson("sides", run.spec_file, "--store", run.store.root)
    assert code == 2 and "export has not finished for this spec" in err


def test_a_base_that_is_gone_is_said(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train", "export")
    shutil.rmtree(run.store.root / run.chain("export").folder("model"))
    code, _, err = caisson("sides", run.spec_file, "--store", run.store.root)
    assert code == 2 and "fetch" in err and "has not finished for this spec" in err


def test_a_base_that_was_altered_is_set_aside_before_an_engine_starts(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train", "export")
    folder = run.store.root / run.chain("export").folder("model")
    (folder / "content").write_text("fetch y")  # as long as before
    code, _, err = caisson("sides", run.spec_file, "--store", run.store.root)
    assert code == 3 and "content" in err and not folder.exists() and list(folder.parent.glob(f".damaged-{folder.name}-*")), err
