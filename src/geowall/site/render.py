"""The process that renders a book: ``python -m geowall.site.render SOURCE WORK [--strict]``.

Pages go to ``WORK/html``, everything intermediate stays in ``WORK`` and is thrown away by
:func:`geowall.site.build.build_site`, which is what to call.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def render(source: Path, work: Path, strict: bool) -> int:
    """Render with Jupyter Book's configuration and table of contents; return Sphinx's exit code."""
    from jupyter_book.sphinx import build_sphinx
    from sphinx.util.console import nocolor

    nocolor()  # what it says is quoted in error messages
    result = build_sphinx(
        source,
        work / "html",
        noconfig=True,
        path_config=source / "_config.yml",
        confoverrides={
            "external_toc_path": (source / "_toc.yml").as_posix(),
            "latex_individualpages": False,
            "nitpicky": strict,
        },
        doctreedir=work / "doctrees",
        builder="html",
        warningiserror=strict,
        keep_going=True,
        freshenv=True,
        quiet=True,
    )
    return 1 if isinstance(result, BaseException) else int(result)


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and render."""
    parser = argparse.ArgumentParser(prog="python -m geowall.site.render", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--strict", action="store_true", help="warnings and unresolved references are errors")
    args = parser.parse_args(argv)
    return render(args.source, args.work, args.strict)


if __name__ == "__main__":
    sys.exit(main())
