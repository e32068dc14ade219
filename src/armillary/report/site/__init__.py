"""The site: the catalogue that people look at, built from docs, papers, the record and the figures."""

from armillary.report.site.builder import Built, build
from armillary.report.site.serve import serve

__all__ = ["Built", "build", "serve"]
