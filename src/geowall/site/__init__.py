"""The rendered book: charts that need no network, numbering, generated pages, builds.

Nothing here runs a chapter or imports torch: pages are rendered from what runs left behind.
"""
