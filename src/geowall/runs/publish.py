"""Publish a chapter: run it whole, then put its page, tables and provenance into the book in one step.

A published chapter is a run folder that is committed: ``book/chapters/<chapter>/`` holds the executed
notebook, ``tables/`` and ``provenance.json``, and one exchange of folders replaces the old by the new. Until
that moment the old page is untouched, whatever fails.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from geowall.paths import GeowallError
from geowall.runs import execute, ledger, store
from geowall.runs.chapters import Chapter

PAGE_BUDGET = 1_000_000  # bytes of one executed notebook


def publish(
    chapter: Chapter, profile: str, out: Path, watch: execute.Watcher | None = None
) -> execute.Result:
    """Run ``chapter`` at ``profile`` (or reuse that run) and make it the chapter's published page."""
    result = execute.run(chapter, profile, chapter.resolve(profile), out, watch=watch)
    size = (result.folder / f"{chapter.name}.ipynb").stat().st_size
    if size > PAGE_BUDGET:
        raise GeowallError(
            f"chapter {chapter.name} was not published: the old page stands",
            f"its page has {size:,} bytes where the book allows {PAGE_BUDGET:,}",
            "draw fewer rows, or move a picture's data to a table",
        )
    book = chapter.published.parent
    staged = book / f".{chapter.name}.{uuid.uuid4().hex[:8]}"
    try:
        with store.locked(ledger.staging_lock()):
            store.restore(chapter.published)
            shutil.copytree(result.folder, staged, ignore=shutil.ignore_patterns("*.html"))
            store.swap_folder(staged, chapter.published)
    except OSError as error:
        if store.is_disk_full(error):
            raise store.disk_full(book) from error
        raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    ledger.record_costs(chapter, out)
    return result
